"""The definition: for a row x of width d, ‖x‖ = sqrt(Σ x²), Σ x / d, max |x| and its first channel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RowStats(NamedTuple):
    """Of every row, [row] each in float32 but `argmax` in int32; `nan_count` and `inf_count` are over all numbers."""

    norm: Tensor
    mean: Tensor
    max_abs: Tensor
    argmax: Tensor
    nan_count: int
    inf_count: int


def naive(rows: Tensor) -> RowStats:
    """Statistics of `rows` [row width] in any floating type; NaN counts as the largest absolute value."""
    wide = rows.double()
    order = wide.abs().nan_to_num(nan=torch.inf, posinf=torch.finfo(torch.float64).max)
    argmax = order.argmax(dim=1)
    max_abs = wide.gather(1, argmax[:, None])[:, 0].abs()
    nan_count, inf_count = int(wide.isnan().sum()), int(wide.isinf().sum())
    norm, mean = wide.square().sum(1).sqrt(), wide.mean(1)
    return RowStats(norm.float(), mean.float(), max_abs.float(), argmax.int(), nan_count, inf_count)
