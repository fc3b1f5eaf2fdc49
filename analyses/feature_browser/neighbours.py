"""The latents whose directions are nearest to each one's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BLOCK = 1024


def nearest_few(directions: Tensor, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """([latent most] others, [latent most] cosines), nearest first, of directions [latent d_out]."""
    units = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-20)
    most = min(most, len(units) - 1)
    parts = []
    for first in range(0, len(units), BLOCK):
        some = units[first : first + BLOCK] @ units.T
        some[torch.arange(len(some)), first + torch.arange(len(some))] = -2.0
        parts.append(some.topk(most, dim=1))
    others = torch.cat([one.indices for one in parts]).numpy()
    return others, torch.cat([one.values for one in parts]).double().numpy()
