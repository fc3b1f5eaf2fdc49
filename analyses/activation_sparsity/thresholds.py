"""Thresholds of a layer's neurons by the error that dropping them makes (CETT)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

LEVELS = 65_536
"""Steps between no neuron dropped and all of them; a power of two, so that searches share their middle points."""


@dataclass(eq=False)
class LayerFit:
    """What the search for a layer's threshold reads.

    Attributes:
        values: [token neuron] what each neuron says (`mlp_post`).
        W_out: [neuron d_model].
        sizes: [token neuron] ‖contribution‖ = |value| · ‖its row of W_out‖.
        candidates: [LEVELS + 1] ascending quantiles of `sizes`; the first is 0, the last the largest size.
    """

    values: Tensor
    W_out: Tensor
    sizes: Tensor = field(init=False)
    candidates: Tensor = field(init=False)
    _full: Tensor = field(init=False)
    _known: dict[int, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.values, self.W_out = self.values.float(), self.W_out.float().cpu()
        self.sizes = self.values.abs() * self.W_out.norm(dim=-1)
        ordered = self.sizes.flatten().sort().values
        places = torch.linspace(0, len(ordered) - 1, LEVELS + 1, dtype=torch.float64).round().long()
        self.candidates = ordered[places]
        self.candidates[0] = 0.0
        self._full = (self.values @ self.W_out).norm(dim=-1)

    def cett(self, level: int) -> float:
        """Mean over tokens of ‖sum of the contributions not above the candidate‖ / ‖sum of all‖.

        A token whose sum of all is zero has nothing to lose and counts as 0.
        """
        if level not in self._known:
            dropped = self.values * (self.sizes <= self.candidates[level])
            lost = (dropped @ self.W_out).norm(dim=-1) / self._full
            self._known[level] = float(torch.where(self._full > 0, lost, 0.0).double().mean())
        return self._known[level]

    def level(self, allowed: float) -> int:
        """The candidate that bisection finds for a CETT of at most `allowed`; grows with `allowed`.

        Two searches see the same middle points until they part, so the larger `allowed` never ends below the smaller,
        whether or not CETT itself is monotone.
        """
        low, high = 0, LEVELS
        if allowed >= 1:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cett(middle) <= allowed else (low, middle)
        return low

    def ratio(self, level: int) -> float:
        """Share of neurons above the candidate, mean over tokens."""
        return float((self.sizes > self.candidates[level]).double().mean())
