"""The same as one Triton kernel: a flash-attention loop over blocks of keys with every reduction inside.

A program holds a block of queries of one head. Distances are kept as a running mean and sum of squares around it, put
together block by block, which fp32 can do. Key masses take a second pass (streamed.py).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.attention_stats import streamed
from kernels.attention_stats.stats import AttentionStats, Question
from kernels.attention_stats.triton_parts import product, score_block, spread_block, take_best

LIMIT = 64
"""Most spans, windows and top keys: each is a column that a program keeps in registers."""


@triton.jit
# Over 40 lines: one loop carries all sums, and Triton has no structs to hand them to functions in.
def _kernel(  # type: ignore[no-untyped-def]
    q_at, k_at, v_at, first_at, last_at, slopes_at, spans_at, windows_at, out_at, rows_at, max_key_at, sets_at,
    top_at, top_key_at,
    q_b, q_h, q_s, q_d, k_b, k_h, k_s, k_d, v_b, v_h, v_s, v_d,
    heads, group, n_query, n_key, position, scale, soft_cap, n_span, n_window,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, SETS: tl.constexpr, TOP: tl.constexpr, TOP_K: tl.constexpr,
    WIDEN: tl.constexpr, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    b, h = (pair // heads).to(tl.int64), (pair % heads).to(tl.int64)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    real = rows < n_query
    first = tl.load(first_at + b * n_query + rows, mask=real, other=n_key)
    last = tl.load(last_at + b * n_query + rows, mask=real, other=0)
    d, dv, sets, slots = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV), tl.arange(0, SETS), tl.arange(0, TOP)
    q_cells = q_at + b * q_b + h * q_h + rows[:, None].to(tl.int64) * q_s + d[None, :] * q_d
    q = tl.load(q_cells, mask=real[:, None] & (d < D)[None, :], other=0.0)
    slope = tl.load(slopes_at + h) if HAS_SLOPES else 0.0
    peak = tl.full([QUERIES], float("-inf"), tl.float32)
    peak_key = tl.full([QUERIES], -1, tl.int32)
    S, A = tl.zeros([QUERIES], tl.float32), tl.zeros([QUERIES], tl.float32)
    mean, spread = tl.zeros([QUERIES], tl.float32), tl.zeros([QUERIES], tl.float32)
    out, masses = tl.zeros([QUERIES, BLOCK_DV], tl.float32), tl.zeros([QUERIES, SETS], tl.float32)
    # Slots behind the k-th never lose; empty ones have keys of their own, so that one at a time is filled.
    top = tl.zeros([QUERIES, TOP], tl.float32) + tl.where(slots < TOP_K, float("-inf"), float("inf"))[None, :]
    top_key = tl.zeros([QUERIES, TOP], tl.int32) - 1 - slots[None, :]
    for start in range(tl.min(first) // KEYS * KEYS, tl.max(last), KEYS):
        j = start + tl.arange(0, KEYS)
        there = j < n_key
        k_cells = k_at + b * k_b + (h // group) * k_h + j[None, :].to(tl.int64) * k_s + d[:, None] * k_d
        k = tl.load(k_cells, mask=(d < D)[:, None] & there[None, :], other=0.0)
        away = position + rows[:, None] - j[None, :]
        seen = (j[None, :] >= first[:, None]) & (j[None, :] < last[:, None])
        s = score_block(q, k, scale, soft_cap, slope, away, seen, WIDEN, HAS_CAP, HAS_SLOPES)
        if TOP_K > 0:
            top, top_key = take_best(top, top_key, s, start)
        highest = tl.max(s, 1)
        peak_key = tl.where(highest > peak, start + tl.argmax(s, 1), peak_key)
        moved = tl.maximum(peak, highest)
        base = tl.where(moved == float("-inf"), 0.0, moved)
        factor = tl.exp(peak - base)
        x = tl.where(seen, s - base[:, None], 0.0)
        p = tl.where(seen, tl.exp(x), 0.0)
        A = (A + tl.where(S > 0, peak - base, 0.0) * S) * factor + tl.sum(p * x, 1)
        S, mean, spread = spread_block(S * factor, mean, spread * factor, p, position + rows - start, KEYS)
        peak = moved
        masses *= factor[:, None]
        for i in range(n_span):
            mark = tl.load(spans_at + (b * n_span + i) * n_key + j, mask=there, other=0).to(tl.float32)
            masses += tl.where(sets == i, 1.0, 0.0)[None, :] * tl.sum(p * mark[None, :], 1)[:, None]
        for i in range(n_window):
            near = tl.where(tl.abs(away) < tl.load(windows_at + i), p, 0.0)
            masses += tl.where(sets == n_span + i, 1.0, 0.0)[None, :] * tl.sum(near, 1)[:, None]
        v_cells = v_at + b * v_b + (h // group) * v_h + j[:, None].to(tl.int64) * v_s + dv[None, :] * v_d
        v = tl.load(v_cells, mask=there[:, None] & (dv < DV)[None, :], other=0.0)
        out = out * factor[:, None] + product(p.to(v.dtype), v, WIDEN)
    over = tl.where(S > 0, 1.0 / tl.where(S > 0, S, 1.0), 0.0)
    over = tl.where(S == S, over, S)
    place = pair.to(tl.int64) * n_query + rows
    tl.store(out_at + place[:, None] * DV + dv[None, :], out * over[:, None], mask=real[:, None] & (dv < DV)[None, :])
    size = tl.num_programs(1).to(tl.int64) * n_query
    total = tl.where(S > 0, S, 1.0)
    tl.store(rows_at + place, peak + tl.log(tl.where(S == 0, 1.0, S)), mask=real)
    tl.store(rows_at + size + place, tl.log(total) - A * over, mask=real)
    tl.store(rows_at + 2 * size + place, over, mask=real)
    tl.store(rows_at + 3 * size + place, mean, mask=real)
    tl.store(rows_at + 4 * size + place, spread * over, mask=real)
    tl.store(max_key_at + place, peak_key, mask=real)
    n_set = n_span + n_window
    inside = real[:, None] & (sets < n_set)[None, :]
    tl.store(sets_at + place[:, None] * n_set + sets[None, :], masses * over[:, None], mask=inside)
    kept = real[:, None] & (slots < TOP_K)[None, :]
    tl.store(top_at + place[:, None] * TOP_K + slots[None, :], top, mask=kept)
    tl.store(top_key_at + place[:, None] * TOP_K + slots[None, :], top_key, mask=kept)


@torch.no_grad()
def attention_stats(asked: Question, queries: int | None = None, keys: int | None = None) -> AttentionStats:
    """On CUDA, or anywhere under Triton's interpreter; `queries` and `keys` a block are powers of two of 16 or more.

    Raises:
        ValueError: tensors elsewhere, or more than 64 top keys or sets: "streamed" takes any number.
    """
    if not asked.q.is_cuda and not triton.knobs.runtime.interpret:
        raise ValueError(f"backend 'triton' needs tensors on CUDA, got {asked.q.device}")
    n_set = asked.spans.shape[1] + len(asked.recency)
    if max(n_set, asked.top_k) > LIMIT:
        raise ValueError(f"backend 'triton' takes up to {LIMIT} spans and windows and {LIMIT} top keys, not {n_set} "
                         f"and {asked.top_k}; backend 'streamed' takes any number")  # fmt: skip
    wide = max(asked.q.shape[3], asked.v.shape[3]) > 128
    queries, keys = queries or (64 if wide else 128), keys or (32 if wide else 64)
    return _described(asked, _launch(asked, queries, keys, n_set))


def _launch(asked: Question, queries: int, keys: int, n_set: int) -> dict[str, Tensor]:
    q, k, v, rule = asked.q, asked.k, asked.v, asked.rule
    batch, heads, n_query, d_head = q.shape
    shape, device = (batch, heads, n_query), q.device
    found = {
        "out": torch.empty(*shape, v.shape[3], dtype=q.dtype, device=device),
        "rows": torch.empty(5, *shape, device=device),
        "max_key": torch.empty(shape, dtype=torch.int32, device=device),
        "sets": torch.empty(*shape, n_set, device=device),
        "top": torch.empty(*shape, asked.top_k, device=device),
        "top_key": torch.empty(*shape, asked.top_k, dtype=torch.int32, device=device),
    }
    windows = torch.tensor(asked.recency or (0,), dtype=torch.int32, device=device)
    slopes = windows.float() if rule.slopes is None else rule.slopes.contiguous()
    _kernel[triton.cdiv(n_query, queries), batch * heads](
        q, k, v, rule.first.int().contiguous(), rule.last.int().contiguous(), slopes,
        asked.spans.to(torch.int8).contiguous(), windows, *found.values(),
        *q.stride(), *k.stride(), *v.stride(),
        heads, heads // k.shape[1], n_query, k.shape[2], rule.position, rule.scale, rule.soft_cap or 0.0,
        asked.spans.shape[1], len(asked.recency),
        D=d_head, DV=v.shape[3], BLOCK_D=_block(d_head), BLOCK_DV=_block(v.shape[3]),
        QUERIES=queries, KEYS=keys, SETS=_block(n_set, 1), TOP=_block(asked.top_k, 1), TOP_K=asked.top_k,
        WIDEN=bool(triton.knobs.runtime.interpret) and q.dtype == torch.bfloat16,
        HAS_CAP=rule.soft_cap is not None, HAS_SLOPES=rule.slopes is not None,
        num_warps=8 if queries >= 128 else 4, num_stages=2,
    )  # fmt: skip
    return found


def _block(size: int, least: int = 16) -> int:
    return max(least, triton.next_power_of_2(max(size, 1)))


def _described(asked: Question, found: dict[str, Tensor]) -> AttentionStats:
    lse, entropy, max_weight, mean, variance = found["rows"].unbind(0)
    n_span, n_key = asked.spans.shape[1], asked.k.shape[2]
    keys = found["top_key"].long()
    keys = torch.where(keys < 0, n_key, keys)
    order = keys.argsort(dim=-1)
    scores, keys = found["top"].gather(-1, order), keys.gather(-1, order)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    scores, keys = scores.gather(-1, order), keys.gather(-1, order)
    weights = torch.where(keys == n_key, 0.0, (scores - lse[..., None]).exp())
    max_key = found["max_key"].long()
    return AttentionStats(
        out=found["out"], log_sum_exp=lse, entropy=entropy, max_weight=max_weight,
        max_key=torch.where(max_key < 0, -1, max_key + asked.first_key),
        distance_mean=mean, distance_variance=variance,
        span_mass=found["sets"][..., :n_span].contiguous(), span_visible=asked.span_visible(),
        recency_mass=found["sets"][..., n_span:].contiguous(), recency_visible=asked.recency_visible(),
        top_weights=weights, top_keys=torch.where(keys == n_key, -1, keys + asked.first_key),
        residual_mass=(1 - weights.sum(-1)).clamp(min=0).masked_fill(lse == float("-inf"), 0.0),
        key_mass=streamed.key_mass(asked, lse), backend="triton",
    )  # fmt: skip
