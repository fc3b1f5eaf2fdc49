"""Packing: prompts laid end to end in long rows, positions starting anew, each attending to itself alone.

No pad token is ever computed, and the block-diagonal mask is never built: attention runs once for each distinct length
in the row, over all prompts of that length together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor, nn

from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True)
class PackedRow:
    """Prompts end to end: their keys and their token ids, in the order in which they lie."""

    prompts: tuple[int, ...]
    token_ids: tuple[tuple[int, ...], ...]

    @property
    def n_tokens(self) -> int:
        """Length of the row."""
        return sum(len(ids) for ids in self.token_ids)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each prompt begins in the row."""
        starts, at = [], 0
        for ids in self.token_ids:
            starts.append(at)
            at += len(ids)
        return tuple(starts)

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """(prompts, length) of neighbours of equal length, in order."""
        return tuple((len(list(same)), length) for length, same in groupby(map(len, self.token_ids)))

    def tokens(self) -> Tensor:
        """[1 row] token ids."""
        return torch.tensor([[token for ids in self.token_ids for token in ids]])

    def positions(self) -> Tensor:
        """[1 row] positions, from 0 in every prompt."""
        return torch.cat([torch.arange(len(ids)) for ids in self.token_ids])[None]


def pack_rows(prompts: Mapping[int, Sequence[int]], row_tokens: int, n_ctx: int | None = None) -> list[PackedRow]:
    """Rows of at most `row_tokens` tokens, shortest prompts first; a longer prompt has a row of its own.

    Raises:
        InputError: a prompt without tokens or longer than `n_ctx`, or `row_tokens` below 1.
    """
    if row_tokens < 1:
        raise InputError(f"row_tokens {row_tokens} is not valid: a row holds at least one token")
    for index, ids in prompts.items():
        if not len(ids):
            raise InputError(f"prompt {index} is empty and cannot be packed: give at least one token")
        if n_ctx is not None and len(ids) > n_ctx:
            raise InputError(f"prompt {index} has {len(ids)} tokens; this model reads at most {n_ctx}")
    rows: list[list[int]] = []
    room = 0
    for index in sorted(prompts, key=lambda one: (len(prompts[one]), one)):
        if not rows or len(prompts[index]) > room:
            rows.append([])
            room = row_tokens
        rows[-1].append(index)
        room -= len(prompts[index])
    return [PackedRow(tuple(row), tuple(tuple(map(int, prompts[i])) for i in row)) for row in rows]


@contextmanager
def packed(model: Model, row: PackedRow) -> Iterator[dict[str, Any]]:
    """The keyword arguments with which the plain module reads `row` [1 row] as separate prompts, inside the block."""
    blocks = range(model.geometry.n_layers)
    parts = [model.module.get_submodule(f"{model.anatomy.blocks}.{i}.{model.anatomy.attn}") for i in blocks]
    for part in parts:
        part.interp_packed = row  # type: ignore[assignment]
    try:
        # A mask of four axes is passed on as it is, so transformers builds none; packed_attention never looks at it.
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=model.device)
        yield {"position_ids": row.positions().to(model.device), "attention_mask": mask, "use_cache": False}
    finally:
        for part in parts:
            del part.interp_packed


def packed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, row: PackedRow, scaling: float | None, window: int
) -> Tensor:
    """Causal attention of every prompt of a row over itself.

    Args:
        query: [1 head row d_head]; key, value: [1 key_value_head row d_head].
        window: how many keys a query sees, itself included; 0 for all.

    Returns:
        [1 row head d_head].
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    outputs, at = [], 0
    for count, length in row.runs:
        part = slice(at, at + count * length)
        q, k, v = (rearrange(x[0, :, part], "h (n pos) d -> n h pos d", n=count) for x in (query, key, value))
        mask = _window_mask(length, window, query.device) if 0 < window < length else None
        out, _ = sdpa_attention_forward(module, q, k, v, mask, scaling=scaling)
        outputs.append(rearrange(out, "n pos h d -> (n pos) h d"))
        at = part.stop
    return torch.cat(outputs)[None]


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """[1 1 dst src], True where a query sees a key: none later than itself, none `window` or more before it."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - window)
    return seen[None, None]
