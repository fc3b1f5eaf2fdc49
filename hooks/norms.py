"""A normalisation split into its three acts: centre, divide by a scale, weight; so that the scale can be frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Norm:
    """LayerNorm or RMSNorm as parts. `norm(x) = centre(x) / scale(x) * weight + bias`, computed in fp32."""

    module: nn.Module

    @property
    def centres(self) -> bool:
        """LayerNorm subtracts the mean; RMSNorm does not."""
        return isinstance(self.module, nn.LayerNorm)

    @property
    def weight(self) -> Tensor:
        """[d_model] in fp32."""
        weight: Any = self.module.weight
        return weight.detach().float()

    @property
    def bias(self) -> Tensor | None:
        """[d_model] in fp32, or None."""
        bias: Any = getattr(self.module, "bias", None)
        return None if bias is None else bias.detach().float()

    def centre(self, x: Tensor) -> Tensor:
        """x minus its mean over the last axis for LayerNorm, x itself for RMSNorm."""
        return x - x.mean(dim=-1, keepdim=True) if self.centres else x

    def scale(self, x: Tensor) -> Tensor:
        """[… 1] in fp32: sqrt(mean(centred²) + ε)."""
        eps: Any = getattr(self.module, "variance_epsilon", None)
        eps = self.module.eps if eps is None else eps
        return (self.centre(x.float()).square().mean(dim=-1, keepdim=True) + eps).sqrt()

    def linear(self, part: Tensor, scale: Tensor) -> Tensor:
        """What `part` of a residual contributes to the normalised stream when `scale` is frozen; linear in `part`."""
        return self.centre(part.float()) / scale * self.weight
