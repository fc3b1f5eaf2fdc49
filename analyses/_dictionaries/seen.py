"""Which texts a dictionary was trained on, kept with it as hashes: they are known again however they are cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

WINDOW = 16
"""Tokens that are hashed together; a shorter text is hashed whole."""
SHARE = 0.5
"""Of a text's windows, that must have been trained on for the text to count as trained on."""
NAME = "seen"
"""Of the hashes among an artifact's tensors."""


def hashes_of(documents: Iterable[Sequence[int]]) -> Tensor:
    """[window] int32, rising: the hashes of every WINDOW tokens in a row of each document's token ids.

    4 bytes a token. Two different windows have the same hash once in 2³² pairs.
    """
    found = [_windows(one) for one in documents if len(one)]
    return torch.cat(found).unique() if found else torch.empty(0, dtype=torch.int32)


def was_seen(document: Sequence[int], known: Tensor) -> bool:
    """Whether SHARE or more of a document's windows are among `hashes_of` what was trained on.

    An excerpt is known like the whole, wherever it begins; one of fewer than WINDOW tokens only where it is a whole
    text itself.
    """
    if not len(document) or not len(known):
        return False
    mine = _windows(document)
    place = torch.searchsorted(known, mine).clamp_max(len(known) - 1)
    return float((known[place] == mine).float().mean()) >= SHARE


def runs_of(ids: Sequence[int], position: Sequence[int]) -> list[list[int]]:
    """The stretches of tokens whose positions follow one another; a capture may hold some positions of a text alone."""
    parts: list[list[int]] = [[one] for one in ids[:1]]
    for (before, here), one in zip(pairwise(position), ids[1:], strict=True):
        if here == before + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return parts


def _windows(ids: Sequence[int]) -> Tensor:
    # + 1: what fills up a text shorter than a window is 0, which is then no token
    one = torch.tensor(ids, dtype=torch.int64) + 1
    one = torch.cat([one, one.new_zeros(max(0, WINDOW - len(one)))])
    # sums that wrap around at 2⁶⁴, their upper half: odd factors drawn once make unlike windows differ
    factors = torch.randint(2**62, (WINDOW,), generator=torch.Generator().manual_seed(0)) * 2 + 1
    return ((one.unfold(0, WINDOW, 1) * factors).sum(dim=1) >> 32).to(torch.int32)
