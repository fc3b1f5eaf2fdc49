"""Exact ranks of targets in one pass.

A rank compares a target's logit with all others, and must use the very number that the blocked product yields, which is
only known when its block has come by. So a window is laid around an estimate of it: what lies above the window counts
for sure, and the few logits inside are kept, with their ids, until the target's own is among them. Whether the window
was well chosen is checked, never assumed: a target outside its own window, or too full a window (many equal logits), is
told to the caller, who reads that row another way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.vocab_lens.naive import Question

CAPACITY = 32
"""Logits kept a window."""

ROWS = 1024
"""Rows of hidden states multiplied at once with their targets' columns."""

UNITS = 2e-6
"""Half the window's width in |h|·|W_U of the target: a few times the error of a product summed in another order."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Bounds, counts and kept logits, filled while blocks come by.

    Attributes:
        low, high: [row target] fp32, both inside.
        above, inside: [row target] int64, how many logits are larger than `high`, and in the window.
        values, ids: [row target capacity], the kept logits and their ids.
    """

    low: Tensor
    high: Tensor
    above: Tensor
    inside: Tensor
    values: Tensor
    ids: Tensor

    @classmethod
    def of(cls, asked: Question) -> Windows:
        """Open windows for all targets of the question."""
        low, high = _bounds(asked)
        kept = (*low.shape, CAPACITY)
        zero = torch.zeros_like(asked.targets)
        values = torch.empty(kept, device=low.device)
        ids = torch.empty(kept, dtype=torch.long, device=low.device)
        return cls(low, high, zero, zero.clone(), values, ids)

    def read(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """([row target] ranks, [row target] logits, [row] whether both are right) after the last block."""
        kept = torch.arange(CAPACITY, device=self.ids.device) < self.inside[..., None]
        own = kept & (self.ids == targets[..., None])
        logits = torch.where(own, self.values, 0.0).sum(dim=-1)
        ahead = (self.values > logits[..., None]) | (
            (self.values == logits[..., None]) & (self.ids < targets[..., None])
        )
        ranks = self.above + (kept & ahead).sum(dim=-1)
        sure = (own.any(dim=-1) & (self.inside <= CAPACITY)).all(dim=-1)
        return ranks, logits, sure


def _bounds(asked: Question) -> tuple[Tensor, Tensor]:
    low = torch.empty(asked.targets.shape, device=asked.hidden.device)
    high = torch.empty_like(low)
    for first in range(0, len(low), ROWS):
        rows = slice(first, first + ROWS)
        hidden = asked.hidden[rows].float()
        for place in range(low.shape[1]):
            ids = asked.targets[rows, place]
            columns = asked.W_U.T[ids].float()
            estimate = (hidden * columns).sum(dim=-1)
            width = UNITS * hidden.norm(dim=-1) * columns.norm(dim=-1)
            if asked.bias is not None:
                estimate = estimate + asked.bias[ids].float()
                width = width + UNITS * asked.bias[ids].float().abs()
            low[rows, place], high[rows, place] = estimate - width, estimate + width
    return low, high
