"""Scoring labels by detection: can contexts in which a latent is active be told by its label from others?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyses._dictionaries.firing import Firing
from analyses._dictionaries.labels import Labeller
from analyses._stats import auroc

Ids = npt.NDArray[np.int64]
CONTEXTS = 12
"""Contexts of each kind, active and not, that a label is tested on at most."""
LEAST = 4
TRIES = 6
"""Rows that are drawn for every inactive context that is wanted."""


class Detection(NamedTuple):
    """AUROC of telling active contexts from others by the label, its interval, and how many contexts of each kind."""

    auroc: float
    low: float
    high: float
    tested: int


def windows_of(text: Tensor, token: Tensor, before: int) -> Ids:
    """[row, before + 1] tokens of the same text up to and with each row's, −1 where the text begins later.

    `text` and `token` are [row], each text's rows together and in order.
    """
    texts, ids = text.numpy(), token.numpy()
    found = np.full((len(ids), before + 1), -1, dtype=np.int64)
    for back in range(min(before + 1, len(ids))):
        there = np.arange(len(ids)) >= back
        there[back:] &= texts[back:] == texts[: len(texts) - back]
        found[there, before - back] = ids[np.flatnonzero(there) - back]
    return found


def detection(labeller: Labeller, firing: Firing, windows: Ids, held: Tensor, latent: int, seed: int) -> Detection:
    """Of one latent's label on the rows in `held` [row] bool, from texts that the labeller did not see.

    An active context ends with a token on which the latent is active; in an inactive one it is active nowhere. NaN
    where there are fewer than LEAST of either, or the label is empty.
    """
    rows, _ = firing.of(latent)
    inside = held.numpy()
    random = np.random.default_rng((seed, latent))
    active = rows[inside[rows]]
    active = random.permutation(active)[:CONTEXTS]
    drawn = random.choice(np.flatnonzero(inside), size=TRIES * CONTEXTS) if inside.any() else np.zeros(0, np.int64)
    drawn = np.unique(drawn)
    reach = windows.shape[1] - 1
    # the first active row at or after the window's beginning lies beyond its end
    following = np.append(rows, firing.rows + reach + 1)[np.searchsorted(rows, drawn - reach)]
    quiet = random.permutation(drawn[following > drawn])[: len(active)]
    if min(len(active), len(quiet)) < LEAST or not labeller.label(latent):
        return Detection(float("nan"), float("nan"), float("nan"), 0)
    scores = np.concatenate([labeller.fits(latent, windows[active]), labeller.fits(latent, windows[quiet])])
    found = auroc(scores, [1.0] * len(active) + [0.0] * len(quiet))
    area, low, high = (float(one) for one in found)
    return Detection(area, low, high, min(len(active), len(quiet)))


def halves_of_texts(text: Tensor, seed: int) -> Tensor:
    """[row] bool, True in the half of the texts that labels are tested on."""
    names = text.unique()
    order = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))]
    return torch.isin(text, order[: len(names) // 2])
