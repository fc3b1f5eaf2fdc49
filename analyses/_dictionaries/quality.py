"""How well a dictionary reconstructs rows of activations, and with how many latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.dictionaries import CrossLayer, Dictionary
from hooks.errors import InputError

ROWS = 4096


@dataclass(frozen=True, eq=False)
class Quality:
    """Sums over rows of one dictionary's reconstructions.

    Attributes:
        explained: 1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖², both sums over all rows (NaN where all rows are equal).
        active: mean active latents a row (L0).
        cosine: mean cosine of y and ŷ.
        norm_ratio: mean ‖ŷ‖/‖y‖.
        bias: E‖ŷ‖²/E[y·ŷ]; 1 where reconstructions are not shrunk.
        density: [d_sae] share of rows in which each latent is active.
        rows: how many.
    """

    explained: float
    active: float
    cosine: float
    norm_ratio: float
    bias: float
    density: Tensor
    rows: int


@torch.no_grad()
def quality(dictionary: Dictionary, x: Tensor, target: Tensor) -> Quality:
    """Of x [row d_in] and what should come of it, [row d_out]. Raises InputError without rows."""
    if not len(x):
        raise InputError("no tokens to measure on: give more text")
    fired, made = torch.zeros(dictionary.d_sae, dtype=torch.long), []
    for first in range(0, len(x), ROWS):
        some = x[first : first + ROWS]
        codes = dictionary.encode(some)
        made.append(dictionary.decode(codes, some))
        fired += torch.bincount(codes.index, minlength=dictionary.d_sae)
    return judged(torch.cat(made), target, fired / len(x))


@torch.no_grad()
def judged(made: Tensor, target: Tensor, density: Tensor) -> Quality:
    """Of reconstructions [row d_out], what they should be, and each latent's density [d_sae]."""
    error = spread = ratio = crossed = square = cosine = 0.0
    mean = target.mean(dim=0)
    # By a few rows at a time: the sums are in double precision, which a large capture has no room for.
    for some, wanted in zip(made.split(ROWS), target.split(ROWS), strict=True):
        error += float((wanted - some).double().square().sum())
        spread += float((wanted - mean).double().square().sum())
        ratio += float((some.norm(dim=1) / wanted.norm(dim=1).clamp_min(1e-12)).double().sum())
        crossed += float((some.double() * wanted).sum())
        square += float(some.double().square().sum())
        cosine += float(torch.cosine_similarity(wanted, some, dim=1).double().sum())
    n = len(target)
    return Quality(
        1 - error / spread if spread > 0 else float("nan"), float(density.sum()), cosine / n, ratio / n,
        square / crossed if crossed else float("nan"), density, n,
    )  # fmt: skip


@torch.no_grad()
def cross_qualities(made: CrossLayer, x: Tensor, target: Tensor) -> list[Quality]:
    """Of each layer's reconstruction by all the latents that write to it; x and target [layer row width].

    `density` and `active` are those of the latents that read the layer.
    """
    codes = made.encode(dict(zip(made.layers, x, strict=True)))
    written = made.decode(codes)
    fired = {layer: torch.bincount(one.index, minlength=one.d_dict) for layer, one in codes.items()}
    return [judged(written[layer], target[place], fired[layer] / x.shape[1]) for place, layer in enumerate(made.layers)]


def explained_by_components(x: Tensor, target: Tensor, held_x: Tensor, held: Tensor, k: int) -> float:
    """The same share, held out, by the k largest principal components of `target`; NaN for a transcoder.

    As many numbers a row as k active latents, but the same ones for every row: what a dictionary has to beat.
    """
    if x is not target or held_x is not held:
        return float("nan")
    mean = target.mean(dim=0)
    directions = torch.linalg.eigh((target - mean).T @ (target - mean)).eigenvectors[:, -k:]
    centred = held - mean
    missed = (centred - centred @ directions @ directions.T).square().sum()
    return 1 - float(missed / (held - held.mean(dim=0)).square().sum())
