"""Affine maps into the last layer's output: how they start, how they are parametrised while fitted, how they are kept.

While fitted, map = base + spread_out · (D · (x − mean)/spread_in + b), each channel in its own units: a few channels of
a residual stream are a hundred times larger than the rest, and one learning rate would not do for both. What is kept is
the plain map. With D = b = 0 it is the base itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.errors import InputError

LEAST_SPREAD = 1e-4
"""Of the typical channel: a channel that hardly varies is not blown up."""


@dataclass(frozen=True, eq=False)
class Affine:
    """base + x · weight + bias, for weight [d_in d_model] and bias [d_model]; what a lens adds to its base."""

    weight: Tensor
    bias: Tensor

    def __call__(self, base: Tensor, x: Tensor) -> Tensor:
        """[row d_model] for base [row d_model], what is read unchanged, and x [row d_in]."""
        return base + x @ self.weight + self.bias


class Translator:
    """An affine map while it is fitted on rows x [row d_in], base and aims [row d_model]."""

    def __init__(self, x: Tensor, base: Tensor, aims: Tensor) -> None:
        """Statistics of the rows to fit on, and D = b = 0."""
        self.mean, self.spread = x.mean(dim=0), _spread(x)
        self.out = _spread(aims)
        self.D = torch.zeros(x.shape[1], aims.shape[1], device=x.device)
        self.b = torch.zeros(aims.shape[1], device=x.device)
        self.x, self.gap = x, aims - base

    def to_least_squares(self, ridge: float) -> None:
        """Start at the ridge regression of aims on x around the base; `ridge` is a share of a channel's variance."""
        x = ((self.x - self.mean) / self.spread).double()
        gap = (self.gap / self.out).double()
        middle = gap.mean(dim=0)
        square = x.T @ x + ridge * len(x) * torch.eye(x.shape[1], device=x.device, dtype=torch.float64)
        self.D = torch.linalg.solve(square, x.T @ (gap - middle)).float()
        self.b = middle.float()

    def __call__(self, base: Tensor, x: Tensor) -> Tensor:
        """[row d_model], with gradients to D and b."""
        return base + (((x - self.mean) / self.spread) @ self.D + self.b) * self.out

    @torch.no_grad()
    def plain(self) -> Affine:
        """The same map without the units. Raises InputError where it is not made of finite numbers."""
        weight = self.D / self.spread[:, None] * self.out
        found = Affine(weight, self.b * self.out - self.mean @ weight)
        if not bool(found.weight.isfinite().all() and found.bias.isfinite().all()):
            raise InputError("the fitted lens is not made of finite numbers: choose a smaller rate or a larger ridge")
        return found


def _spread(values: Tensor) -> Tensor:
    spread = values.std(dim=0)
    return spread.clamp_min(LEAST_SPREAD * float(spread.median()) + 1e-12)
