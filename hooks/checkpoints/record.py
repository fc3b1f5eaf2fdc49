"""What is known about a checkpoint: the record `checkpoint.json` in its folder, and the digests of its files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hooks.errors import InputError

RECORD_FILE = "checkpoint.json"
WAY_OUT = "move the folder away or delete it, and it is made again"


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk: a folder with `config.json`, `*.safetensors` and the tokenizer's files."""

    name: str
    """What the user calls it: "smollm2-135m", "toy:random", "org/name", a folder's or a file's name."""
    folder: Path
    """The folder that transformers can load."""
    source: str
    """Where it came from: a package and version, a file, a folder, a hub id with its commit."""
    revision: str
    """First 16 hex digits of the SHA-256 over `config.json` and the weight files."""
    quantisation: str
    """"none", or the format that the weights were rounded to before they were widened again."""
    licence: str
    """Licence identifier, or "unknown"."""


@dataclass(frozen=True)
class Origin:
    """What a builder knows about the checkpoint that it makes; the rest is measured on the folder."""

    name: str
    source: str
    quantisation: str
    licence: str


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identity_files(folder: Path) -> list[Path]:
    """The files that decide what the model computes: `config.json` and every `*.safetensors`, by name."""
    return [folder / "config.json", *sorted(folder.glob("*.safetensors"))]


def revision_of(digests: dict[str, str]) -> str:
    """First 16 hex digits of the SHA-256 over the sorted lines "name digest" (file name -> SHA-256)."""
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def write_record(folder: Path, origin: Origin) -> None:
    """Write `checkpoint.json`: the origin, the revision, and each file's size so that damage shows later."""
    revision = revision_of({path.name: file_sha256(path) for path in identity_files(folder)})
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != RECORD_FILE}
    record = {**asdict(origin), "revision": revision, "files": sizes}
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> Checkpoint:
    """The checkpoint in a folder that this workbench made.

    Raises InputError when `checkpoint.json` is missing or damaged, or a file is missing or has another size.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {RECORD_FILE}, so it was not made by this workbench: {WAY_OUT}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        sizes: dict[str, int] = dict(record["files"])
        text = {key: str(record[key]) for key in ("name", "source", "revision", "quantisation", "licence")}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}): {WAY_OUT}") from error
    for name, size in sizes.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise InputError(f"{file} {state}, so the model is damaged: {WAY_OUT}")
    return Checkpoint(folder=folder, **text)
