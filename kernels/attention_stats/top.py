"""The k largest scores of every query so far, with their keys; blocks come in order of their keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Top:
    """scores [… k] from the largest, equal ones in order of their keys [… k]; −inf and −1 where there is none."""

    scores: Tensor
    keys: Tensor

    @classmethod
    def empty(cls, shape: tuple[int, ...], k: int, device: torch.device) -> Top:
        scores = torch.full((*shape, k), float("-inf"), device=device)
        return cls(scores, torch.full_like(scores, -1, dtype=torch.long))

    def absorb(self, scores: Tensor, first: int) -> Top:
        """The k largest of these and of `scores` [… block], whose first column is key `first`."""
        k = self.scores.shape[-1]
        if not k:
            return self
        values, places = _largest(scores, min(k, scores.shape[-1]))
        keys = torch.where(values == float("-inf"), -1, places + first)
        # Earlier blocks hold lower keys: a stable sort keeps equal scores in order of their keys.
        both = torch.cat([self.scores, values], dim=-1).sort(dim=-1, descending=True, stable=True)
        ordered = torch.cat([self.keys, keys], dim=-1).gather(-1, both.indices)
        return Top(both.values[..., :k].contiguous(), ordered[..., :k].contiguous())

    def weights(self, peak: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """[… k] weights e^(score − peak) / total, 0 where there is no key; and the keys."""
        shifted = self.scores.double() - peak.masked_fill(peak == float("-inf"), 0.0)[..., None]
        return (shifted.exp() / total[..., None]), self.keys


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """[… k] values and places in descending order, equal values by place; `torch.topk` leaves both open."""
    if k == scores.shape[-1]:
        ordered = scores.sort(dim=-1, descending=True, stable=True)
        return ordered.values, ordered.indices
    values, places = scores.topk(k + 1, dim=-1)
    # Only where the k-th and the next are equal, and seen, is it open which places were taken.
    unclear = (values[..., k - 1] == values[..., k]) & values[..., k].isfinite()
    places = places[..., :k].sort(dim=-1).values
    ordered = scores.gather(-1, places).sort(dim=-1, descending=True, stable=True)
    values, places = ordered.values, places.gather(-1, ordered.indices)
    if bool(unclear.any()):
        again = scores[unclear].sort(dim=-1, descending=True, stable=True)
        values[unclear], places[unclear] = again.values[:, :k], again.indices[:, :k]
    return values, places
