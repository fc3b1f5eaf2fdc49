"""Named things that a run leaves for later ones: directions, probes, detectors, dictionaries. Tensors and plain JSON.

An artifact is a folder `workspace/artifacts/NAME` with `artifact.json` and `tensors.safetensors`. It is whole or
absent; saving under a name again replaces it. Its revision is the SHA-256 of what it holds, and part of the key of
every run that uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.workspace import exclusive, sync_folder
from hooks.errors import InputError, reason, unknown

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ABOUT, TENSORS = "artifact.json", "tensors.safetensors"
OLDER = {"cross-layer transcoder": "dictionary"}
"""Kinds as artifacts once had them → as they are called now."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """One artifact, loaded. `meta` says what is needed to use it: the model's identity, site, layer, settings."""

    name: str
    kind: str
    meta: dict[str, Any]
    tensors: dict[str, Tensor]
    revision: str

    def identity(self) -> dict[str, str]:
        """Name, kind and revision, for keys and provenance."""
        return {"name": self.name, "kind": self.kind, "revision": self.revision}


def check_name(name: str) -> None:
    """Raise InputError for what cannot be an artifact's name."""
    if not NAME.fullmatch(name):
        raise InputError(f"artifact name {name!r}: use lower-case letters, digits, '.', '-' and '_', 64 at most")


def save_artifact(
    workspace: Path, name: str, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> Artifact:
    """Keep an artifact under a name, in place of an older one. Raises InputError for a bad name or a full disk."""
    check_name(name)
    folder = _folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"kind": kind, "meta": dict(meta)}
    with exclusive(folder / ".lock", block=True):
        making, old = folder / f".making-{name}-{os.getpid()}", folder / f".old-{name}-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        try:
            save_file({key: one.detach().cpu().contiguous() for key, one in tensors.items()}, making / TENSORS)
            (making / ABOUT).write_text(json.dumps(about, indent=2, sort_keys=True, allow_nan=False), encoding="utf-8")
            for path in making.iterdir():
                sync_folder(path)
            if (folder / name).exists():
                _refuse_other_kind(folder / name, kind)
                (folder / name).rename(old)
            making.rename(folder / name)
            sync_folder(folder)
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"artifact {name!r} cannot be kept: {reason(error)}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return load_artifact(workspace, name, kind)


def load_artifact(workspace: Path, name: str, kind: str | None = None) -> Artifact:
    """The artifact of that name. Raises InputError offering the others, or when it is of another kind or damaged."""
    folder = _folder(workspace) / name
    if not NAME.fullmatch(name) or not (folder / ABOUT).is_file():
        known = list(list_artifacts(workspace, kind)["name"])
        if not known:
            raise InputError(f"unknown {kind or 'artifact'} {name!r}: none has been kept in this workspace yet")
        raise unknown(kind or "artifact", name, known)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found, meta = _kind(about), dict(about["meta"])
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"artifact {name!r} is damaged ({reason(error)}): delete {folder}, make it again") from error
    if kind is not None and found != kind:
        raise InputError(f"artifact {name!r} is a {found}, not a {kind}")
    digest = hashlib.sha256((folder / ABOUT).read_bytes() + (folder / TENSORS).read_bytes()).hexdigest()[:16]
    return Artifact(name, found, meta, tensors, digest)


def refuse_taken(workspace: Path, run: str, claims: Mapping[str, tuple[str, bool]]) -> None:
    """Raise InputError for a name that a run may not keep its artifact under, before it works.

    `claims` says of each name what kind will be kept, and whether it may replace another run's; its own it always may.
    """
    for name, (kind, replaces) in claims.items():
        folder = _folder(workspace) / name
        _refuse_other_kind(folder, kind)
        maker = _about(folder).get("meta", {}).get("run")
        if (folder / ABOUT).exists() and not replaces and maker != run:
            of = f", kept by run {maker}," if maker else ""
            raise InputError(f"a {kind} {name!r}{of} is there already: choose another name, or add --replace")


def _refuse_other_kind(folder: Path, kind: str) -> None:
    """Raise InputError where the artifact that would be replaced is of another kind: a slip of the name, not a wish."""
    there = _kind(about) if "kind" in (about := _about(folder)) else kind
    if there != kind:
        raise InputError(f"artifact {folder.name!r} is a {there}, which a {kind} does not replace; choose another name")


def _about(folder: Path) -> dict[str, Any]:
    """What an artifact says of itself; nothing where there is none, or a damaged one."""
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("meta"), dict) else {}


def _kind(about: Mapping[str, Any]) -> str:
    return OLDER.get(str(about["kind"]), str(about["kind"]))


def list_artifacts(workspace: Path, kind: str | None = None) -> pd.DataFrame:
    """Every artifact: name, kind, megabytes, meta as JSON; of one kind when it is given."""
    rows = []
    for path in sorted(_folder(workspace).glob(f"*/{ABOUT}")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            found, meta = _kind(about), json.dumps(about["meta"], ensure_ascii=False)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if path.parent.name.startswith(".") or (kind is not None and found != kind):
            continue
        size = sum(one.stat().st_size for one in path.parent.iterdir()) / 1e6
        rows.append((path.parent.name, found, round(size, 3), meta))
    return pd.DataFrame(rows, columns=["name", "kind", "size_mb", "meta"])


def _folder(workspace: Path) -> Path:
    return workspace / "artifacts"
