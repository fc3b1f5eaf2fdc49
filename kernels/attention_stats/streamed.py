"""The same over blocks of queries and keys with torch's own operations: O(T) memory on any device, no compiler.

For each query, relative to the largest score m so far, in fp64 between blocks and moved when m moves:

    S = Σ e^(s−m)    A = Σ e^(s−m)(s−m)    D = Σ e^(s−m)·d    E = Σ e^(s−m)·d²    and Σ e^(s−m) over each set of keys

D and E are put together from chunks of 32 keys, within which distances are small enough for fp32.
Then lse = m + log S, H = log S − A/S.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.attention_stats.scores import products
from kernels.attention_stats.stats import AttentionStats, Question
from kernels.attention_stats.top import Top

QUERIES, KEYS = 128, 512
"""Queries and keys a block: with the nine heads of the default model its scores are 2.4 MB."""

CHUNK = 32
"""Keys whose distances are summed in fp32, around their middle."""


@dataclass
class _Sums:
    """Sums of one block of queries, all [batch head query …]; `of_max` is the key at the peak."""

    peak: Tensor
    of_max: Tensor
    S: Tensor
    A: Tensor
    D: Tensor
    E: Tensor
    out: Tensor
    spans: Tensor
    recency: Tensor
    top: Top

    @classmethod
    def empty(cls, asked: Question, n_row: int) -> _Sums:
        shape = (*asked.q.shape[:2], n_row)

        def zeros(*more: int) -> Tensor:
            return torch.zeros(*shape, *more, dtype=torch.float64, device=asked.q.device)

        peak = torch.full(shape, float("-inf"), device=asked.q.device)
        return cls(
            peak, torch.full_like(peak, -1, dtype=torch.long), zeros(), zeros(), zeros(), zeros(),
            zeros(asked.v.shape[3]).float(), zeros(asked.spans.shape[1]), zeros(len(asked.recency)),
            Top.empty(shape, asked.top_k, asked.q.device),
        )  # fmt: skip

    def absorb(self, asked: Question, rows: Tensor, keys: slice) -> None:
        """Take in the keys of one block."""
        scores = asked.rule.finish(products(asked.q[:, :, rows], asked.k[:, :, keys]), rows, keys)
        self.top = self.top.absorb(scores, keys.start)
        highest = scores.amax(dim=-1)
        place = (scores == highest[..., None]).to(torch.uint8).argmax(dim=-1)
        peak = torch.maximum(self.peak, highest)
        self.of_max = torch.where(highest > self.peak, place + keys.start, self.of_max)
        # A query that has seen no key yet has peak −inf on both sides; nothing is there to move.
        move = torch.where(self.peak == peak, 0.0, self.peak.double() - peak.double())
        move = move.masked_fill(self.peak == float("-inf"), 0.0)
        self.peak = peak
        self._move(move)
        shifted = scores - peak.masked_fill(peak == float("-inf"), 0.0)[..., None]
        self._add(asked, rows, keys, shifted.exp(), shifted)

    def _move(self, move: Tensor) -> None:
        factor = move.exp()
        self.A = (self.A + move * self.S) * factor
        self.S, self.D, self.E = self.S * factor, self.D * factor, self.E * factor
        self.out = self.out * factor.float()[..., None]
        self.spans, self.recency = self.spans * factor[..., None], self.recency * factor[..., None]

    def _add(self, asked: Question, rows: Tensor, keys: slice, weights: Tensor, shifted: Tensor) -> None:
        j = torch.arange(keys.start, keys.stop, device=rows.device)
        mass, one, two = _moments(weights)
        middle = torch.arange(keys.start + CHUNK // 2, keys.stop + CHUNK // 2, CHUNK, device=rows.device)
        away = (rows[:, None] + asked.rule.position - middle).double()
        self.S = self.S + mass.sum(-1)
        self.A = self.A + (weights * shifted.clamp(min=-1e4)).sum(-1).double()
        self.D = self.D + (away * mass + one).sum(-1)
        self.E = self.E + (away**2 * mass + 2 * away * one + two).sum(-1)
        groups = weights.unflatten(1, (asked.v.shape[1], -1))
        self.out = self.out + (groups @ asked.v[:, :, None, keys].float()).flatten(1, 2)
        if asked.spans.shape[1]:
            self.spans = self.spans + (weights @ asked.spans[:, None, :, keys].float().mT).double()
        for index, window in enumerate(asked.recency):
            first, last = (edge[:, rows, None] for edge in asked.near(window))
            near = ((j >= first) & (j < last))[:, None]
            self.recency[..., index] += (weights * near).sum(-1).double()


def _moments(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[… chunk] fp64 sums of p, p·o and p·o² over chunks of neighbouring keys, o counted back from a chunk's middle."""
    o = CHUNK // 2 - torch.arange(CHUNK, device=weights.device)
    powers = torch.stack([torch.ones_like(o), o, o**2], dim=-1).float()
    chunks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % CHUNK)).unflatten(-1, (-1, CHUNK))
    mass, one, two = (chunks @ powers).double().unbind(-1)
    return mass, one, two


@torch.no_grad()
def attention_stats(asked: Question, queries: int = QUERIES, keys: int = KEYS) -> AttentionStats:
    """`queries` and `keys` are how many of each are looked at together. Blocks that nobody sees are skipped."""
    if queries < 1 or keys < 1:
        raise ValueError(f"blocks must hold at least 1 query and 1 key, got {queries} and {keys}")
    parts = []
    for start in range(0, asked.q.shape[2], queries):
        rows = torch.arange(start, min(start + queries, asked.q.shape[2]), device=asked.q.device)
        sums = _Sums.empty(asked, len(rows))
        for block in visible_blocks(asked, rows, keys):
            sums.absorb(asked, rows, block)
        parts.append(_described(asked, sums))
    whole = {name: torch.cat([part[name] for part in parts], dim=2) for name in parts[0]}
    return AttentionStats(
        **whole,
        span_visible=asked.span_visible(),
        recency_visible=asked.recency_visible(),
        key_mass=key_mass(asked, whole["log_sum_exp"], queries, keys),
        backend="streamed",
    )


def visible_blocks(asked: Question, rows: Tensor, keys: int) -> Iterator[slice]:
    """Blocks of keys that some of the query rows see."""
    first, last = asked.rule.first[:, rows], asked.rule.last[:, rows]
    seeing = last > first
    if not bool(seeing.any()):
        return
    low, high = int(first[seeing].min()), int(last[seeing].max())
    for start in range(low // keys * keys, high, keys):
        yield slice(start, min(start + keys, asked.k.shape[2]))


def _described(asked: Question, sums: _Sums) -> dict[str, Tensor]:
    blind = sums.S == 0
    S = sums.S.masked_fill(blind, 1.0)
    mean = sums.D / S
    top_weights, top_keys = sums.top.weights(sums.peak, S)
    found = {
        "out": sums.out / S[..., None].float(),
        "log_sum_exp": (sums.peak + S.log()),
        "entropy": S.log() - sums.A / S,
        "max_weight": (1 / S).masked_fill(blind, 0.0),
        "max_key": torch.where(sums.of_max < 0, -1, sums.of_max + asked.first_key),
        "distance_mean": mean,
        "distance_variance": (sums.E / S - mean**2).clamp(min=0),
        "span_mass": sums.spans / S[..., None],
        "recency_mass": sums.recency / S[..., None],
        "top_weights": top_weights,
        "top_keys": torch.where(top_keys < 0, -1, top_keys + asked.first_key),
        "residual_mass": (1 - top_weights.sum(-1)).clamp(min=0).masked_fill(blind, 0.0),
    }
    kept = {name: x.float() if x.is_floating_point() else x for name, x in found.items()}
    return kept | {"out": kept["out"].to(asked.q.dtype)}


def key_mass(asked: Question, lse: Tensor, queries: int = QUERIES, keys: int = KEYS) -> Tensor | None:
    """[batch head key] accumulated mass from a finished log-sum-exp [batch head query]: a second pass over scores."""
    decay = asked.decay()
    if decay is None:
        return None
    total = torch.zeros(*asked.q.shape[:2], asked.k.shape[2], dtype=torch.float64, device=asked.q.device)
    for start in range(0, asked.q.shape[2], queries):
        rows = torch.arange(start, min(start + queries, asked.q.shape[2]), device=asked.q.device)
        for block in visible_blocks(asked, rows, keys):
            scores = asked.rule.finish(products(asked.q[:, :, rows], asked.k[:, :, block]), rows, block)
            weights = (scores - lse[:, :, rows, None]).exp().masked_fill(scores == float("-inf"), 0.0)
            total[:, :, block] += (weights * decay[:, None, rows, None]).sum(2).double()
    return total.float()
