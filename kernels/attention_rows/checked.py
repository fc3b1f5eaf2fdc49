"""The checked arguments of a call, shared by both versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.attention_stats.checks import check_finite, check_heads
from kernels.attention_stats.scores import Rule


@dataclass(frozen=True, eq=False)
class Chosen:
    """Which rows of which heads, as indices [row] and [head], and how scores are made."""

    queries: Tensor
    heads: Tensor
    rule: Rule

    @classmethod
    def of(
        cls,
        q: Tensor,
        k: Tensor,
        queries: Sequence[int] | Tensor,
        heads: Sequence[int] | Tensor | None,
        scoring: dict[str, Any],
    ) -> Chosen:
        """Raise ValueError naming the argument, its shape and what was expected."""
        check_heads(q, k)
        if heads is None:
            heads = range(q.shape[1])
        rows, those = _indices("queries", queries, q.shape[2]), _indices("heads", heads, q.shape[1])
        check_finite(**{"the chosen q": q[:, those.to(q.device)][:, :, rows.to(q.device)], "k": k})
        return cls(rows.to(q.device), those.to(q.device), Rule.of(q, k, **scoring))


def _indices(name: str, given: Sequence[int] | Tensor, count: int) -> Tensor:
    found = torch.as_tensor(given if isinstance(given, Tensor) else list(given))
    if found.ndim != 1 or not found.numel() or found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(f"{name} must be a list of one or more indices, got {found.dtype} {tuple(found.shape)}")
    if not 0 <= int(found.min()) <= int(found.max()) < count:
        raise ValueError(f"{name} must be 0 to {count - 1}, got {int(found.min())} to {int(found.max())}")
    return found.long()
