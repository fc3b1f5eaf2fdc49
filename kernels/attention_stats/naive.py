"""The definition: the whole pattern at once.

With scores s of the visible keys (see scores.py), all in fp32, for one query at position i:

    log_sum_exp        lse = log Σ_j exp(s_j)                A_j = exp(s_j − lse)
    out                Σ_j A_j v_j
    entropy            −Σ_j A_j (s_j − lse)                  (nats)
    max_weight         max_j A_j, at the lowest j with the largest score
    distance           mean μ = Σ_j A_j (i − j),  variance Σ_j A_j (i − j − μ)²
    mass of a set      Σ_{j in set} A_j;   its mean is the mass over the number of visible keys in the set (0 if none)
    recency window w   the set of keys with |i − j| < w
    top-k              keys by falling score, equal scores by rising key;  residual 1 − Σ A of these
    key mass           a_j = Σ_i α^(n_i) A_ij, n_i the number of later queries in i's segment
                       (A2SF's score after the last query: the recurrence a ← αa + A gives the same)
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.attention_stats.scores import products
from kernels.attention_stats.stats import AttentionStats, Question


@torch.no_grad()
def attention_stats(asked: Question) -> AttentionStats:
    """O(query × key) memory: for small sizes and for tests."""
    n_query, n_key = asked.q.shape[2], asked.k.shape[2]
    rows = torch.arange(n_query, device=asked.q.device)
    scores = asked.rule.finish(products(asked.q, asked.k), rows, slice(0, n_key))
    lse = scores.logsumexp(dim=-1)
    pattern = (scores - lse[..., None]).exp().nan_to_num(0.0)
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    max_key = order[..., 0] + asked.first_key
    top_weights = pattern.gather(-1, order[..., : asked.top_k])
    seen = scores.gather(-1, order[..., : asked.top_k]).isfinite()
    distance = (rows[:, None] + asked.rule.position - torch.arange(n_key, device=asked.q.device)).float()
    mean = (pattern * distance).sum(-1)
    spread = (distance - mean[..., None]).square()
    blind = lse == float("-inf")
    values = asked.v.float().repeat_interleave(asked.q.shape[1] // asked.v.shape[1], dim=1)
    surprise = torch.where(pattern > 0, scores - lse[..., None], 0.0)
    return AttentionStats(
        out=(pattern @ values).to(asked.q.dtype),
        log_sum_exp=lse,
        entropy=-(pattern * surprise).sum(-1),
        max_weight=pattern.amax(-1),
        max_key=max_key.masked_fill(blind, -1),
        distance_mean=mean,
        distance_variance=(pattern * spread).sum(-1),
        span_mass=pattern @ asked.spans.float().mT[:, None],
        span_visible=asked.span_visible(),
        recency_mass=_recency(asked, pattern),
        recency_visible=asked.recency_visible(),
        top_weights=top_weights,
        top_keys=(order[..., : asked.top_k] + asked.first_key).masked_fill(~seen, -1),
        residual_mass=(1 - top_weights.sum(-1)).clamp(min=0).masked_fill(blind, 0.0),
        key_mass=_key_mass(asked, pattern),
        backend="naive",
    )


def _recency(asked: Question, pattern: Tensor) -> Tensor:
    distance = torch.arange(pattern.shape[2], device=pattern.device)[:, None] + asked.rule.position
    distance = (distance - torch.arange(pattern.shape[3], device=pattern.device)).abs()
    masses = [(pattern * (distance < window)).sum(-1) for window in asked.recency]
    return torch.stack(masses, dim=-1) if masses else pattern.new_zeros(*pattern.shape[:3], 0)


def _key_mass(asked: Question, pattern: Tensor) -> Tensor | None:
    decay = asked.decay()
    return None if decay is None else torch.einsum("bhqk,bq->bhk", pattern, decay)
