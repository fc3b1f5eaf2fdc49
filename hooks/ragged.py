"""Rows of a fast sweep: the tail of one prompt, once per cell, packed end to end into one long row.

A cell that touches nothing before position p leaves the tokens before p as they were in the base run, at every layer.
So only its tail p … T−1 is computed, and its queries read the base run's keys and values for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Segment:
    """One cell's tail: `cell` is its index in the sweep, `start` its first position, `at` where it lies in the row."""

    cell: int
    start: int
    at: int
    length: int

    @property
    def rows(self) -> slice:
        """Where this tail lies in the long row."""
        return slice(self.at, self.at + self.length)


def pack(cells: Sequence[tuple[int, int]], total: int) -> list[Segment]:
    """Lay out (cell, start) tails of a prompt of `total` tokens end to end, equal starts side by side."""
    segments, at = [], 0
    for cell, start in sorted(cells, key=lambda pair: pair[1]):
        segments.append(Segment(cell, start, at, total - start))
        at += total - start
    return segments


def ragged_attention(
    query: Tensor, key: Tensor, value: Tensor, base: tuple[Tensor, Tensor], segments: Sequence[Segment], scale: float
) -> Tensor:
    """Causal attention of every tail over the base run's prefix and itself.

    Args:
        query: [1 head row d_head]; key, value: [1 key_value_head row d_head], rows packed as `segments` say.
        base: the base run's keys and values, [key_value_head pos d_head].

    Returns:
        [1 row head d_head].
    """
    outputs = []
    for start, group in groupby(segments, key=lambda segment: segment.start):
        same = list(group)
        rows = slice(same[0].at, same[-1].at + same[-1].length)
        tails = (
            rearrange(x[0, :, rows], "h (cell pos) d -> cell h pos d", cell=len(same)) for x in (query, key, value)
        )
        q, k, v = tails
        groups = q.shape[1] // k.shape[1]
        k, v = (_whole(tail, prefix[:, :start], groups) for tail, prefix in zip((k, v), base, strict=True))
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(start)
        out = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
        outputs.append(rearrange(out, "cell h pos d -> (cell pos) h d"))
    return torch.cat(outputs)[None]


def _whole(tail: Tensor, prefix: Tensor, groups: int) -> Tensor:
    """The prefix every cell shares, then its own tail, heads repeated to the queries' number."""
    joined = torch.cat([prefix.expand(len(tail), -1, -1, -1), tail], dim=2)
    return repeat(joined, "cell h pos d -> cell (h groups) pos d", groups=groups)
