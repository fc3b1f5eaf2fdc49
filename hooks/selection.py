"""Which tokens of a prompt a capture keeps: all, the last, a span with Python's slice rules, or some at random."""

from __future__ import annotations

import random
import re

from hooks.errors import InputError

_SPAN = re.compile(r"(-?\d+)?:(-?\d+)?")
_RANDOM = re.compile(r"random:(\d+)")
VALID = "all, last, A:B (as a Python slice, e.g. 2:5, :-1 or 3:) or random:K"


def check_selection(tokens: str) -> None:
    """Raise InputError for words that select no tokens of any prompt."""
    if tokens in ("all", "last") or _SPAN.fullmatch(tokens):
        return
    count = _RANDOM.fullmatch(tokens)
    if count is None or not int(count[1]):
        raise InputError(f"token selection {tokens!r} is not valid; valid: {VALID}")


def selected(tokens: str, length: int, prompt: int = 0, seed: int = 0) -> tuple[int, ...]:
    """The positions of a prompt of `length` tokens that are kept, ascending.

    Args:
        tokens: "all", "last", "A:B" or "random:K".
        prompt: the prompt's index; with `seed` it fixes what is drawn, whatever else is captured and in what order.

    Raises:
        InputError: words that are not understood; a span that is empty or reaches outside; more draws than tokens.
    """
    check_selection(tokens)
    if tokens == "all":
        return tuple(range(length))
    if tokens == "last":
        return (length - 1,)
    if count := _RANDOM.fullmatch(tokens):
        if int(count[1]) > length:
            raise InputError(f"prompt {prompt} has {length} tokens, too few for {tokens!r}")
        return tuple(sorted(random.Random(f"{seed}:{prompt}").sample(range(length), int(count[1]))))
    return _span(tokens, length, prompt)


def _span(tokens: str, length: int, prompt: int) -> tuple[int, ...]:
    first, last = (int(end) if end else None for end in tokens.split(":"))
    kept = range(length)[first:last]
    outside = (first is not None and not -length <= first < length) or (
        last is not None and not -length <= last <= length
    )
    if outside or not kept:
        raise InputError(f"tokens {tokens!r} reach outside prompt {prompt}, or select nothing: it has {length} tokens")
    return tuple(kept)
