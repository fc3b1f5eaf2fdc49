"""Texts that a lens is fitted on, checked and tested with: given ones, or drawn from the model; split by text."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from analyses._contract import Inputs
from hooks.decoding import end_of_text
from hooks.errors import InputError
from hooks.progress import Progress
from hooks.sampling import draw

if TYPE_CHECKING:
    from hooks.model import Model

FEWEST, SHORTEST, LEAST = 6, 4, 48
"""Texts, tokens of one, and states to fit on, below which no lens is fitted."""
VALIDATION = 6
"""One in so many texts that are not held out decides which step is kept."""
KNOWN_BY = 16
"""Tokens by which a text is known again."""
TOGETHER = 32
"""Texts drawn side by side."""


@dataclass(frozen=True)
class Texts:
    """Token ids of texts and which of them are for what; `kinds` says what each is, or "".

    `groups` is empty, or says which texts belong together, "" for one alone: a group is not torn apart.
    `fitted`, `checked` and `tested` are places in `ids`. No two texts are equal.
    """

    ids: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]
    origin: str
    fitted: tuple[int, ...] = ()
    checked: tuple[int, ...] = ()
    tested: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()

    def marks(self, places: Sequence[int]) -> list[str]:
        """A short digest of each of these texts, to know it again."""
        return [mark(self.ids[place]) for place in places]


def mark(ids: Sequence[int]) -> str:
    """Eight letters that tell one text's beginning from another's, at whatever length both are read."""
    return hashlib.sha256(" ".join(map(str, ids[:KNOWN_BY])).encode()).hexdigest()[:8]


def given_texts(model: Model, inputs: Inputs, length: int) -> Texts:
    """The texts of the inputs, cut to `length` tokens, each once; texts below SHORTEST tokens are left out."""
    kinds, groups = (one or ("",) * len(inputs.texts) for one in (inputs.labels, inputs.groups))
    found: dict[tuple[int, ...], tuple[str, str]] = {}
    for text, kind, group in zip(inputs.texts, kinds, groups, strict=True):
        ids = tuple(model.encode(text)[:length])
        if len(ids) >= SHORTEST:
            found.setdefault(ids, (kind, group))
    kept, together = zip(*found.values(), strict=True) if found else ((), ())
    return Texts(tuple(found), tuple(kept), inputs.set_name or "texts given", groups=tuple(together))


def drawn_texts(model: Model, count: int, length: int, seed: int, progress: Progress) -> Texts:
    """Texts that the model writes by itself at temperature 1, from its first token (else from any token)."""
    start = getattr(model.tokenizer, "bos_token_id", None)
    ends = (start,) if start is not None else end_of_text(model)[:1]
    generator = torch.Generator().manual_seed(seed)
    found: dict[tuple[int, ...], str] = {}
    for first in range(0, count, TOGETHER):
        some = min(TOGETHER, count - first)
        begin = torch.full((some, 1), ends[0]) if ends else torch.randint(model.W_U.shape[1], (some, 1),
                                                                          generator=generator)  # fmt: skip

        def told(share: float, words: str, first: int = first, some: int = some) -> None:
            progress((first + share * some) / count, f"drawing texts from the model, {words}")

        said = draw(model, begin.to(model.device), length - 1, 1.0, generator, stop=(), progress=told).tokens
        for head, tail in zip(begin.tolist(), said.tolist(), strict=True):
            found.setdefault((*head, *tail), "")
    return Texts(tuple(found), tuple(found.values()), "texts drawn from the model")


def split(texts: Texts, held: float, seed: int, states: Callable[[int], int] = lambda count: count - 1) -> Texts:
    """Texts apart for fitting, checking and testing, every kind in the same shares, each group in one of the parts.

    `states` says how many states a text of so many tokens gives; its first token gives none.

    Raises InputError for fewer than FEWEST texts or groups, or fewer than LEAST states to fit on.
    """
    together: dict[str | int, list[int]] = {}
    for place in range(len(texts.ids)):
        together.setdefault((texts.groups and texts.groups[place]) or place, []).append(place)
    units = list(together.values())
    if (count := len(units)) < FEWEST:
        what = "different texts" if count == len(texts.ids) else "groups"
        raise InputError(
            f"{count} {what} of {SHORTEST} tokens or more: a lens needs at least {FEWEST}, some to fit it on "
            "and others to test it with"
        )
    rng = random.Random(seed)
    order = sorted(range(count), key=lambda unit: (texts.kinds[units[unit][0]], rng.random()))
    tested = _every(order, max(held, 1.5 / count))
    left = [unit for unit in order if unit not in tested]
    checked = _every(left, max(1 / VALIDATION, 1.5 / len(left)))
    fitted = [unit for unit in left if unit not in checked]
    parts = [tuple(sorted(place for unit in one for place in units[unit])) for one in (fitted, checked, tested)]
    count = sum(max(states(len(texts.ids[place])), 0) for place in parts[0])
    if count < LEAST:
        raise InputError(f"{count} tokens to fit a lens on are too few: at least {LEAST}; give more or longer texts")
    return replace(texts, fitted=parts[0], checked=parts[1], tested=parts[2])


def _every(order: Sequence[int], share: float) -> set[int]:
    """Evenly spread places of an order, this share of them."""
    return {place for turn, place in enumerate(order) if int((turn + 1) * share) > int(turn * share)}
