"""What DuckDB and the system say when a file cannot be used, in words a user can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from hooks.errors import InputError

_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_NO_SPACE_WORDS = ("No space left", "File too large", "Disk quota exceeded", "max_temp_directory_size")
_BUSY_WORDS = ("Could not set lock on file", "different configuration than existing connections")
_DAMAGE_WORDS = ("Corrupt database file", "not a valid DuckDB database", "Could not read enough bytes",
                 "replaying WAL", "Serialization Error", "INTERNAL Error", "Failed to deserialize")  # fmt: skip


def is_busy(error: duckdb.Error) -> bool:
    """Whether someone else has the file open, so that trying again may help."""
    return any(words in str(error) for words in _BUSY_WORDS)


def busy(path: Path, error: duckdb.Error, patience: float) -> InputError:
    """The error for a file that stayed locked, naming the holder where DuckDB does."""
    holder = re.search(r"lock is held in (.+?) \(PID (\d+)\)", str(error))
    who = f"{Path(holder[1]).name} (process {holder[2]})" if holder else "another program"
    return InputError(f"{path} is still in use by {who} after {patience:g} s; close it there or try again")


def unusable(path: Path, error: duckdb.Error) -> InputError:
    """The error for a file that DuckDB cannot open. Nothing has been written to it."""
    said = first_line(error)
    if "version number" in said:
        return InputError(f"{path} was written by another DuckDB ({said}); use that version or another workspace")
    if any(words in str(error) for words in _DAMAGE_WORDS):
        return damaged(path, error)
    return InputError(f"{path} cannot be opened: {said}; check its permissions, or use another workspace folder")


def damaged(path: Path, error: Exception) -> InputError:
    """The error for a file that is not a whole DuckDB file."""
    return InputError(
        f"{path} is damaged or not a DuckDB file ({first_line(error)}); it was left as it is: "
        "restore a copy, or move it away and start again"
    )


def no_space(path: Path, error: Exception) -> InputError:
    """The error for a disk that is full."""
    return InputError(
        f"no space left to write {path} ({first_line(error)}); what was saved before is intact: "
        "free some space and try again"
    )


def first_line(error: Exception) -> str:
    """What the library said, without the picture of the query below it."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip() if lines else type(error).__name__


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a full disk, a damaged file and too little memory into an InputError; leave other errors alone."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(path, error) from error
        raise
    except duckdb.OutOfMemoryException as error:
        raise InputError(f"the query on {path} needs more than the memory limit allows: {first_line(error)}") from error
    except duckdb.Error as error:
        if any(words in str(error) for words in _NO_SPACE_WORDS):
            raise no_space(path, error) from error
        if any(words in str(error) for words in _DAMAGE_WORDS):
            raise damaged(path, error) from error
        raise
