"""How long work reports itself: a callback with a fraction and a few words, which may raise Cancelled."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, label: str) -> None:
    """The progress callback that says nothing."""
