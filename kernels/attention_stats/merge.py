"""Statistics over disjoint sets of keys are statistics over all of them: the online softmax is associative.

With parts a and b of the keys of one query, lse = log(e^lse_a + e^lse_b), w_x = e^(lse_x − lse), weighted sums of A are
w_a X_a + w_b X_b, and

    H = Σ_x w_x (H_x − log w_x)        variance = Σ_x w_x (variance_x + (mean_x − mean)²)
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels._settled import settle
from kernels.attention_stats.stats import AttentionStats


def merge(a: AttentionStats, b: AttentionStats) -> AttentionStats:
    """Of the same queries, with the same spans, windows and k, over disjoint keys: made with `partial`, `first_key`.

    Raises:
        ValueError: shapes that differ, or key masses: each was divided by its own part's sum, so they do not add up.
    """
    _check(a, b)
    settle()
    lse = torch.logaddexp(a.log_sum_exp, b.log_sum_exp)
    w_a, w_b = (_share(part.log_sum_exp, lse) for part in (a, b))

    def mixed(name: str) -> Tensor:
        x, y = getattr(a, name).float(), getattr(b, name).float()
        more = (None,) * (x.ndim - w_a.ndim)
        return w_a[(..., *more)] * x + w_b[(..., *more)] * y

    mean = mixed("distance_mean")
    max_weight, max_key = _largest(a, b, w_a, w_b)
    top_weights, top_keys = _top(a, b, w_a, w_b)
    blind = lse == float("-inf")
    return AttentionStats(
        out=mixed("out").to(a.out.dtype),
        log_sum_exp=lse,
        entropy=mixed("entropy") - torch.xlogy(w_a, w_a) - torch.xlogy(w_b, w_b),
        max_weight=max_weight,
        max_key=max_key,
        distance_mean=mean,
        distance_variance=mixed("distance_variance")
        + w_a * (a.distance_mean - mean) ** 2
        + w_b * (b.distance_mean - mean) ** 2,
        span_mass=mixed("span_mass"),
        span_visible=a.span_visible + b.span_visible,
        recency_mass=mixed("recency_mass"),
        recency_visible=a.recency_visible + b.recency_visible,
        top_weights=top_weights,
        top_keys=top_keys,
        residual_mass=(1 - top_weights.sum(-1)).clamp(min=0).masked_fill(blind, 0.0),
        key_mass=None,
        backend=a.backend if a.backend == b.backend else f"{a.backend}+{b.backend}",
    )


def _check(a: AttentionStats, b: AttentionStats) -> None:
    if a.key_mass is not None or b.key_mass is not None:
        raise ValueError("key masses of parts cannot be merged: ask for forgetting over all keys at once")
    for name in ("out", "span_mass", "recency_mass", "top_weights"):
        if getattr(a, name).shape != getattr(b, name).shape:
            shapes = f"{tuple(getattr(a, name).shape)} and {tuple(getattr(b, name).shape)}"
            raise ValueError(f"statistics of different calls cannot be merged: {name} is {shapes}")


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return (part - whole).exp().masked_fill(part == float("-inf"), 0.0)


def _largest(a: AttentionStats, b: AttentionStats, w_a: Tensor, w_b: Tensor) -> tuple[Tensor, Tensor]:
    x, y = w_a * a.max_weight, w_b * b.max_weight
    lower = (b.max_key >= 0) & ((a.max_key < 0) | (b.max_key < a.max_key))
    take = (y > x) | ((y == x) & lower)
    return torch.where(take, y, x), torch.where(take, b.max_key, a.max_key)


def _top(a: AttentionStats, b: AttentionStats, w_a: Tensor, w_b: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.cat([w_a[..., None] * a.top_weights, w_b[..., None] * b.top_weights], dim=-1)
    keys = torch.cat([a.top_keys, b.top_keys], dim=-1)
    # Absent keys (−1) come last, then equal weights in order of their keys: two stable sorts, the minor one first.
    order = torch.where(keys < 0, torch.iinfo(torch.long).max, keys).argsort(dim=-1, stable=True)
    weights, keys = weights.gather(-1, order), keys.gather(-1, order)
    order = weights.argsort(dim=-1, descending=True, stable=True)[..., : a.top_weights.shape[-1]]
    return weights.gather(-1, order), keys.gather(-1, order)
