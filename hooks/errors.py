"""Errors a user can act on: each names the input and the valid choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
