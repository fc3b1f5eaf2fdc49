"""The same as a Triton kernel: a program holds a block of rows and goes through the vocabulary, logits never leave it.

Moments are carried in fp32 here; the tops are replaced one at a time as long as a block has anything better; targets
are counted with windows (near.py). KL and JS take a second pass over the blocks, as matrix products and torch, once the
log-sum-exps are known: three products in all.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.vocab_lens.compiled import reread
from kernels.vocab_lens.naive import Question, VocabLens, mixture_terms
from kernels.vocab_lens.near import CAPACITY, Windows

BLOCK = 128
"""Vocabulary ids a tile; a power of two, at least 16."""

PASS = 4096
"""Vocabulary ids a block of the second pass."""

MOST = 128
"""Most tokens kept a row: they lie in registers."""


@triton.jit
# Over 40 lines: one loop carries all sums, and Triton has no structs to hand them to functions in.
def _kernel(  # type: ignore[no-untyped-def]
    hidden_at, columns_at, bias_at, low_at, high_at,
    moments_at, values_at, ids_at, above_at, inside_at, near_values_at, near_ids_at,
    rows, d_vocab, d_model, n_target, hidden_r, hidden_d, columns_d, columns_v,
    K: tl.constexpr, SLOTS: tl.constexpr, KEPT: tl.constexpr, HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr, IDS: tl.constexpr, DEPTH: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row = row.to(tl.int64)
    real, depth, slot = row < rows, tl.arange(0, DEPTH), tl.arange(0, SLOTS)
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total, moment = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    empty = tl.where(slot < K, float("-inf"), float("inf"))
    values = tl.zeros([ROWS, SLOTS], tl.float32) + empty[None, :]
    ids = tl.zeros([ROWS, SLOTS], tl.int32) + (d_vocab + slot)[None, :]
    for first in range(0, d_vocab, IDS):
        word = first + tl.arange(0, IDS)
        there = word < d_vocab
        tile = tl.zeros([ROWS, IDS], tl.float32)
        for begin in range(0, d_model, DEPTH):
            d = begin + depth
            left = tl.load(hidden_at + row[:, None] * hidden_r + d[None, :] * hidden_d,
                           mask=real[:, None] & (d < d_model)[None, :], other=0.0)  # fmt: skip
            right = tl.load(columns_at + d[:, None].to(tl.int64) * columns_d + word[None, :].to(tl.int64) * columns_v,
                            mask=(d < d_model)[:, None] & there[None, :], other=0.0)  # fmt: skip
            if WIDEN:
                left, right = left.to(tl.float32), right.to(tl.float32)
            tile += tl.dot(left, right, input_precision="ieee")
        if HAS_BIAS:
            tile += tl.load(bias_at + word, mask=there, other=0.0).to(tl.float32)[None, :]
        tile = tl.where(there[None, :], tile, float("-inf"))
        new = tl.maximum(peak, tl.max(tile, 1))
        move = tl.where(peak == float("-inf"), 0.0, peak - new)
        shifted = tl.where(there[None, :], tile - new[:, None], 0.0)
        weights = tl.where(there[None, :], tl.exp(shifted), 0.0)
        moment = (moment + move * total) * tl.exp(move) + tl.sum(weights * shifted, 1)
        total = total * tl.exp(move) + tl.sum(weights, 1)
        peak = new
        for target in range(n_target):
            cell = row * n_target + target
            low = tl.load(low_at + cell, mask=real, other=0.0)
            high = tl.load(high_at + cell, mask=real, other=0.0)
            over = (tile > high[:, None]).to(tl.int32)
            near = ((tile >= low[:, None]) & (tile <= high[:, None])).to(tl.int32)
            above = tl.load(above_at + cell, mask=real, other=0) + tl.sum(over, 1)
            before = tl.load(inside_at + cell, mask=real, other=0)
            place = before[:, None] + tl.cumsum(near, 1) - 1
            keep = (near > 0) & (place < KEPT) & real[:, None]
            tl.store(near_values_at + cell[:, None] * KEPT + place, tile, mask=keep)
            tl.store(
                near_ids_at + cell[:, None] * KEPT + place,
                (tl.zeros_like(near) + word[None, :]).to(tl.int64),
                mask=keep,
            )
            tl.store(above_at + cell, above, mask=real)
            tl.store(inside_at + cell, before + tl.sum(near, 1), mask=real)
        worst = tl.min(values, 1)
        best = tl.max(tile, 1)
        while tl.max((best > worst).to(tl.int32), 0) > 0:
            found = tl.min(tl.where(tile == best[:, None], word[None, :], 2147483647), 1)
            # Of equal tops the one with the highest id goes first; ids come in ascending order, so equal logits wait.
            out = tl.max(tl.where(values == worst[:, None], ids, -1), 1)
            swap = (best > worst)[:, None] & (values == worst[:, None]) & (ids == out[:, None])
            values = tl.where(swap, best[:, None], values)
            ids = tl.where(swap, found[:, None], ids)
            tile = tl.where(word[None, :] == found[:, None], float("-inf"), tile)
            worst = tl.min(values, 1)
            best = tl.max(tile, 1)
    tl.store(moments_at + row, peak, mask=real)
    tl.store(moments_at + rows + row, total, mask=real)
    tl.store(moments_at + 2 * rows + row, moment, mask=real)
    keep = real[:, None] & (slot < K)[None, :]
    tl.store(values_at + row[:, None] * K + slot[None, :], values, mask=keep)
    tl.store(ids_at + row[:, None] * K + slot[None, :], ids.to(tl.int64), mask=keep)


@torch.no_grad()
def vocab_lens(
    hidden: Tensor,
    W_U: Tensor,
    b_U: Tensor | None = None,
    *,
    k: int = 1,
    targets: Tensor | None = None,
    reference: Tensor | None = None,
    reference_index: Tensor | None = None,
    js: bool = False,
    block: int = BLOCK,
) -> VocabLens:
    """Arguments, results and errors of `naive.vocab_lens`, k at most 128; `block` is a power of two from 16."""
    asked = Question.of(hidden, W_U, b_U, k, targets, reference, reference_index, js)
    if k > MOST:
        raise ValueError(f"k must be at most {MOST} for the Triton version, got {k}")
    if block < 16 or block & (block - 1):
        raise ValueError(f"block must be a power of two from 16, got {block}")
    windows = Windows.of(asked)
    (peak, total, moment), values, ids = launch(asked, hidden, k, windows, block)
    ranks, logits, sure = windows.read(asked.targets)
    ids, values = in_order(ids, values)
    log_sum_exp = peak + total.log()
    kl, mixed = _divergences(asked, log_sum_exp, block)
    found = VocabLens(
        top_ids=ids,
        top_log_probs=values - log_sum_exp[:, None],
        log_sum_exp=log_sum_exp,
        entropy=total.log() - moment / total,
        target_ranks=ranks,
        target_log_probs=logits - log_sum_exp[:, None],
        kl=kl,
        js=mixed,
        backend="triton",
    )
    unsure = ~(sure & log_sum_exp.isfinite() & (ids < W_U.shape[1]).all(dim=-1))
    return reread(found, asked, unsure) if bool(unsure.any()) else found


def widened(states: Tensor) -> bool:
    """Whether a product's factors must be fp32: Triton's interpreter multiplies the bits of bf16 as whole numbers."""
    return bool(triton.knobs.runtime.interpret) and states.dtype == torch.bfloat16


def launch(asked: Question, states: Tensor, k: int, windows: Windows, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """([3 row] maximum, sum and moment, [row k] values, [row k] ids), the tops in no order; fills the windows."""
    rows, d_model = states.shape
    columns, device = asked.W_U, states.device
    if states.dtype != columns.dtype:
        states, columns = states.float(), columns.float()
    moments, values = torch.empty(3, rows, device=device), torch.empty(rows, k, device=device)
    ids = torch.empty(rows, k, dtype=torch.long, device=device)
    if rows:
        _kernel[(triton.cdiv(rows, 32),)](
            states, columns, columns if asked.bias is None else asked.bias.contiguous(), windows.low, windows.high,
            moments, values, ids, windows.above, windows.inside, windows.values, windows.ids,
            rows, columns.shape[1], d_model, windows.low.shape[1], *states.stride(), *columns.stride(),
            K=k, SLOTS=triton.next_power_of_2(k), KEPT=CAPACITY, HAS_BIAS=asked.bias is not None,
            ROWS=32, IDS=block, DEPTH=32, WIDEN=widened(states),
        )  # fmt: skip
    return moments, values, ids


def in_order(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Descending by value, equal values by id."""
    ids, order = ids.sort(dim=-1)
    values, again = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
    return ids.gather(1, again), values


def _divergences(asked: Question, mine: Tensor, block: int) -> tuple[Tensor | None, Tensor | None]:
    """[row] KL and, if asked for, JS, from a second pass with both log-sum-exps known."""
    if asked.reference is None or asked.reference_index is None:
        return None, None
    no_targets = asked.targets.new_empty(asked.reference.shape[0], 0)
    windows = Windows.of(replace(asked, hidden=asked.reference, targets=no_targets))
    (peak, total, _), _, _ = launch(asked, asked.reference, 1, windows, block)
    theirs, index = peak + total.log(), asked.reference_index
    kl, twice = torch.zeros_like(mine, dtype=torch.float64), torch.zeros_like(mine, dtype=torch.float64)
    for first in range(0, asked.W_U.shape[1], PASS):
        log_p = asked.logits(asked.hidden, first, first + PASS) - mine[:, None]
        log_r = (asked.logits(asked.reference, first, first + PASS) - theirs[:, None])[index]
        kl += (log_r.exp() * (log_r - log_p)).sum(dim=-1).double()
        if asked.js:
            twice += mixture_terms(log_p, log_r).sum(dim=-1).double()
    return kl.float(), (twice / 2).float() if asked.js else None
