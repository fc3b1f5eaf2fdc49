"""Errors a user can act on: each names the input and the valid choices."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input. The message is one line that names the input and what would be valid."""


class Cancelled(Exception):
    """The user stopped a long computation; what was already finished is kept."""


def unknown(kind: str, name: object, choices: Iterable[object]) -> InputError:
    """An InputError for a name that does not exist, offering the nearest valid ones first."""
    valid = sorted({str(choice) for choice in choices})
    near = difflib.get_close_matches(str(name), valid, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    listed = ", ".join(valid[:40]) + (f", … ({len(valid)} in all)" if len(valid) > 40 else "")
    return InputError(f"unknown {kind} {str(name)!r}: {hint}valid: {listed or 'none'}")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Put what it is about ("task 3") before the message of an InputError that does not begin with it."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(f"{what}: "):
            raise
        raise InputError(f"{what}: {error}") from error


def said(error: BaseException) -> str:
    """An error in one line for people: the message of an InputError, file and reason of a system's, else its kind."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return where + reason(error)
    words = " ".join(str(error).split())
    return words if isinstance(error, InputError) else f"{type(error).__name__}: {words}"


def reason(error: BaseException) -> str:
    """Why something could not be read or written, without the words of Python and without the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"not JSON at {line}column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}"
    return " ".join(str(error).split()) or type(error).__name__
