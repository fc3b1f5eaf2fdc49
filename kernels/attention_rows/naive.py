"""The definition: A = softmax of the scores (kernels/attention_stats/scores.py) over visible keys, then indexed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kernels.attention_rows.checked import Chosen
from kernels.attention_stats.scores import products


@torch.no_grad()
def attention_rows(
    q: Tensor,
    k: Tensor,
    *,
    queries: Sequence[int] | Tensor,
    heads: Sequence[int] | Tensor | None = None,
    **scoring: Any,
) -> Tensor:
    """Arguments and errors of `chosen.attention_rows`. Holds the whole pattern."""
    asked = Chosen.of(q, k, queries, heads, scoring)
    every = torch.arange(q.shape[2], device=q.device)
    pattern = asked.rule.finish(products(q, k), every, slice(0, k.shape[2])).softmax(dim=-1)
    return pattern[:, asked.heads][:, :, asked.queries]
