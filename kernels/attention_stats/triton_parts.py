"""Pieces of the Triton kernel: a block of scores, the running top-k, the running mean and spread of distances."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def product(a, b, WIDEN: tl.constexpr):  # type: ignore[no-untyped-def]
    """a·b in fp32. `WIDEN` casts the factors first: Triton's interpreter takes the bits of bf16 for whole numbers."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
def score_block(  # type: ignore[no-untyped-def]
    q, k, scale, soft_cap, slope, away, seen, WIDEN: tl.constexpr, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr
):
    """[query key] fp32 scores as in scores.py, −inf where unseen."""
    s = product(q, k, WIDEN) * scale
    if HAS_CAP:
        # tanh |x| = (1 − e^(−2|x|)) / (1 + e^(−2|x|))
        t = tl.exp(-2.0 * tl.abs(s / soft_cap))
        s = tl.where(s < 0, -soft_cap, soft_cap) * (1.0 - t) / (1.0 + t)
    if HAS_SLOPES:
        s = s - slope * tl.abs(away).to(tl.float32)
    return tl.where(seen, s, float("-inf"))


@triton.jit
def take_best(top, top_key, s, start):  # type: ignore[no-untyped-def]
    """Fill the weakest slot of every query with its best new score until none beats it. Scores come by rising key."""
    columns = tl.arange(0, s.shape[1])
    weakest, best = tl.min(top, 1), tl.max(s, 1)
    while tl.max((best > weakest).to(tl.int32)) > 0:
        column, taken = tl.argmax(s, 1), best > weakest
        low = top == weakest[:, None]
        # Of equally weak slots the one with the highest key goes.
        loser = tl.max(tl.where(low, top_key, -(2**31)), 1)
        here = low & (top_key == loser[:, None]) & taken[:, None]
        top = tl.where(here, best[:, None], top)
        top_key = tl.where(here, (start + column)[:, None], top_key)
        s = tl.where((columns[None, :] == column[:, None]) & taken[:, None], float("-inf"), s)
        weakest, best = tl.min(top, 1), tl.max(s, 1)
    return top, top_key


@triton.jit
def spread_block(S, mean, spread, p, to_start, KEYS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sum, mean distance and Σ p·(distance − mean)² with a block's weights p taken in; `to_start`: to its first key."""
    offset = (tl.arange(0, KEYS) - KEYS // 2).to(tl.float32)
    mass, one, two = tl.sum(p, 1), tl.sum(p * offset[None, :], 1), tl.sum(p * (offset * offset)[None, :], 1)
    middle = one / tl.where(mass > 0, mass, 1.0)
    total = S + mass
    share = mass / tl.where(total > 0, total, 1.0)
    gap = (to_start - KEYS // 2).to(tl.float32) - middle - mean
    spread = spread + tl.maximum(two - one * middle, 0.0) + gap * gap * S * share
    return total, mean + gap * share, spread
