"""Making a model folder so that it is either whole or absent, whoever interrupts and however many try at once."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hooks.checkpoints.record import Checkpoint, Origin, read_record, write_record
from hooks.errors import InputError
from hooks.progress import Progress

Maker = Callable[[Path], Origin]
"""Fills an empty temporary folder with a loadable model and says where it came from."""

_MAKING = ".making-"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_SPACE_WORDS = ("no space left on device", "os error 28", "disk quota exceeded")


def models_folder(workspace: Path) -> Path:
    """The folder that holds every model of a workspace."""
    return workspace / "models"


def build(workspace: Path, name: str, make: Maker, progress: Progress, needs_mb: float = 0) -> Checkpoint:
    """The checkpoint `workspace/models/name`, made by `make` in a temporary sibling unless it is there already.

    Processes that ask for the same name wait for one another. Raises InputError when the folder is not ours or
    damaged, when there is no space (`needs_mb`: megabytes wanted at the peak), and what `make` raises.
    """
    folder = models_folder(workspace) / name
    if folder.exists():
        return read_record(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent, name, progress):
        if folder.exists():
            return read_record(folder)
        making = folder.parent / f"{_MAKING}{name}"
        shutil.rmtree(making, ignore_errors=True)
        _check_space(folder.parent, name, needs_mb)
        try:
            making.mkdir()
            write_record(making, make(making))
            _sync(making)
            making.rename(folder)
            _sync_folder(folder.parent)
        except Exception as error:
            if is_no_space(error):
                raise _no_space(folder.parent, name, needs_mb) from error
            raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return read_record(folder)


def clean_interrupted(workspace: Path) -> None:
    """Remove the temporary folders of builds that were killed; those still being made are left alone."""
    models = models_folder(workspace)
    for making in models.glob(f"{_MAKING}*"):
        with _lock_file(models, making.name.removeprefix(_MAKING)) as descriptor:
            if _try_lock(descriptor):
                shutil.rmtree(making, ignore_errors=True)


def is_no_space(error: BaseException) -> bool:
    """Whether an error says that a disk is full; writers in other languages say so only in words."""
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return True
    return any(words in str(error).lower() for words in _NO_SPACE_WORDS)


def _no_space(folder: Path, name: str, needs_mb: float) -> InputError:
    free = shutil.disk_usage(folder).free / 1e6
    wanted = f"about {needs_mb:.0f} MB are needed, " if needs_mb else ""
    return InputError(
        f"no space left in {folder} to make {name!r}: {wanted}{free:.0f} MB are free; "
        "free some space or choose another workspace. Nothing half-made was left."
    )


def _check_space(folder: Path, name: str, needs_mb: float) -> None:
    if shutil.disk_usage(folder).free / 1e6 < needs_mb:
        raise _no_space(folder, name, needs_mb)


@contextmanager
def _lock_file(models: Path, name: str) -> Iterator[int]:
    descriptor = os.open(models / f".lock-{name}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(models: Path, name: str, progress: Progress) -> Iterator[None]:
    with _lock_file(models, name) as descriptor:
        # Polling instead of a blocking wait lets the progress callback cancel.
        while not _try_lock(descriptor):
            progress(0.0, f"waiting for another process that is preparing {name}")
            time.sleep(0.2)
        yield


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
