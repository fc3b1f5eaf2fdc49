"""Where a workspace lies on disk, and the advisory locks its writers take."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hooks.errors import InputError, reason


def default_workspace() -> Path:
    """The folder named by the environment variable INTERP_WORKSPACE, otherwise `workspace` in the current folder."""
    return Path(os.environ.get("INTERP_WORKSPACE") or "workspace")


@contextmanager
def exclusive(path: Path, *, block: bool, busy: str = "") -> Iterator[None]:
    """Hold an advisory lock on `path` (created if missing); the system drops it when the process dies, however it dies.

    Raises InputError(busy) when another holder has it and `block` is False, and when nothing can be written there.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"workspace {str(path.parent)!r} cannot be written to: {reason(error)}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise InputError(busy) from error
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
