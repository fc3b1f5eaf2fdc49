"""Folders on this machine: used where they lie, after checking that loading them runs nobody's code."""

from __future__ import annotations

import json
from pathlib import Path

from hooks.checkpoints.digests import cached_sha256
from hooks.checkpoints.record import RECORD_FILE, Checkpoint, identity_files, read_record, revision_of
from hooks.errors import InputError
from hooks.progress import Progress

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
WAY_OUT = (
    "pickled weights can run code when they are opened, so only *.safetensors and *.gguf are read: convert them once, "
    "on a machine where you trust the file, with `model.save_pretrained(folder)` of transformers"
)


def fetch_local(folder: Path, workspace: Path, progress: Progress) -> Checkpoint:
    """The model in a folder with `config.json` and `*.safetensors`; nothing is copied.

    Raises InputError when the folder is no model, holds only pickled weights, or asks for remote code.
    """
    if (folder / RECORD_FILE).is_file():
        return read_record(folder)
    check_folder(folder)
    digests = {}
    for path in identity_files(folder):
        progress(0.5, f"reading {path.name}")
        digests[path.name] = cached_sha256(path, workspace)
    config = read_config(folder)
    quantisation = "as configured: " + str(method) if (method := quantisation_method(config)) else "none"
    place = folder.resolve()
    return Checkpoint(place.name, place, str(place), revision_of(digests), quantisation, "unknown")


def check_folder(folder: Path) -> None:
    """Raises InputError unless the folder can be loaded safely: a config without remote code, safetensors weights."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if not any(name.endswith(".safetensors") for name in names):
        pickled = [name for name in names if name.endswith(PICKLED)]
        if pickled:
            raise InputError(f"{folder} holds {', '.join(pickled)}: {WAY_OUT}")
        gguf = [name for name in names if name.endswith(".gguf")]
        if gguf:
            raise InputError(f"{folder} holds {', '.join(gguf)}: name the *.gguf file itself")
        found = ", ".join(names[:8]) or "nothing"
        raise InputError(f"{folder} is not a model: it needs config.json and *.safetensors, and holds {found}")
    refuse_remote_code(str(folder), read_config(folder))
    for name in ("tokenizer_config.json", "processor_config.json"):
        if (folder / name).is_file():
            refuse_remote_code(str(folder), _read_json(folder / name))


def read_config(folder: Path) -> dict:
    """The folder's `config.json`; raises InputError when it is missing or is not a JSON object."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model: config.json is missing beside its *.safetensors")
    return _read_json(folder / "config.json")


def refuse_remote_code(where: str, config: dict) -> None:
    """Raises InputError when a configuration points at Python code to download or to run (`auto_map`)."""
    if "auto_map" in config:
        raise InputError(
            f"{where} needs its own Python code (auto_map in its configuration), and no code from a checkpoint is run "
            "here: use a checkpoint of an architecture that transformers itself knows"
        )


def quantisation_method(config: dict) -> str | None:
    """The quantisation that a configuration declares, or None."""
    declared = config.get("quantization_config")
    return str(declared.get("quant_method", "unknown")) if isinstance(declared, dict) else None


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    return content
