"""Where exports go, looked at before anything is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from hooks.errors import InputError, reason
from interp.export import export_format


def check_targets(targets: Iterable[str | Path]) -> None:
    """Raise InputError for an export format that does not exist, or a file that could not be written. Makes nothing."""
    for target in targets:
        path = Path(target)
        export_format(path)
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file in it")
        folder = next(parent for parent in (path.absolute().parent, *path.absolute().parents) if parent.exists())
        try:
            # Asking for permissions is not enough: a folder of the system may allow everything and hold nothing.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(f"cannot write {path}: no file can be made in {folder} ({reason(error)})") from error
