"""Tensors of a run that is not done: what it would be slow to compute again, and where a training stands.

They lie in `workspace/running/KEY/NAME.safetensors`, whole or absent, and go when the run is done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.workspace import sync_folder
from hooks.errors import InputError, reason


def save_state(workspace: Path, key: str, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep tensors of a run under a name, in place of older ones. Raises InputError for a full or read-only disk."""
    folder = workspace / "running" / key
    making = folder / f".{name}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({one: tensor.detach().cpu().contiguous() for one, tensor in tensors.items()}, making)
        sync_folder(making)
        making.rename(folder / f"{name}.safetensors")
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            making.unlink()
        raise InputError(f"the state of a running run cannot be kept in {folder}: {reason(error)}") from error


def load_state(workspace: Path, key: str, name: str) -> dict[str, Tensor] | None:
    """What was kept of a run under a name, or None. Raises InputError for a damaged file, naming it."""
    path = workspace / "running" / key / f"{name}.safetensors"
    if not path.exists():
        return None
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}, where the interrupted run stood, is damaged: {reason(error)}") from error


def drop_state(workspace: Path, key: str) -> None:
    """Forget everything kept of a run."""
    shutil.rmtree(workspace / "running" / key, ignore_errors=True)
