"""How alike a dictionary's directions are: each one's nearest, beside as many directions at random."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1024


def nearest_directions(directions: Tensor) -> tuple[Tensor, Tensor]:
    """([latent] the nearest other latent, [latent] their cosine) of [latent d_out]; NaN for one latent alone.

    A direction of length 0 has cosine 0 with every other.
    """
    units = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-20)
    count = len(units)
    if count == 1:
        return torch.zeros(1, dtype=torch.long), torch.full((1,), float("nan"))
    nearest, cosine = torch.empty(count, dtype=torch.long), torch.empty(count)
    for first in range(0, count, BLOCK):
        some = units[first : first + BLOCK] @ units.T
        some[torch.arange(len(some)), first + torch.arange(len(some))] = -2.0
        cosine[first : first + BLOCK], nearest[first : first + BLOCK] = some.max(dim=1)
    return nearest, cosine


def random_neighbours(count: int, width: int, seed: int) -> Tensor:
    """[count] largest cosine of each of `count` random directions of `width` channels with another of them."""
    draw = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return nearest_directions(draw)[1]
