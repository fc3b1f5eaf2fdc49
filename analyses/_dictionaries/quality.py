"""How well a dictionary reconstructs rows of activations, and with how many latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.dictionaries import Dictionary

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
    """Of x [row d_in] and what should come of it, [row d_out]."""
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
    error = float((target - made).double().square().sum())
    spread = float((target - target.mean(dim=0)).double().square().sum())
    ratio = (made.norm(dim=1) / target.norm(dim=1).clamp_min(1e-12)).double().mean()
    crossed = float((made.double() * target).sum())
    return Quality(
        1 - error / spread if spread > 0 else float("nan"), float(density.sum()),
        float(torch.cosine_similarity(target, made, dim=1).double().mean()), float(ratio),
        float(made.double().square().sum()) / crossed if crossed else float("nan"), density, len(target),
    )  # fmt: skip


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
