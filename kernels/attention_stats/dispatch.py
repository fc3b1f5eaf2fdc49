"""The public call: check the arguments, pick the version, name it in the result."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from torch import Tensor

from kernels._compiled import why_not
from kernels.attention_stats import compiled, naive, streamed
from kernels.attention_stats.stats import AttentionStats, Question, check_overflow

BACKENDS = ("auto", "naive", "streamed", "compiled", "triton")


def attention_stats(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    causal: bool = True,
    offset: int | None = None,
    window: int | None = None,
    soft_cap: float | None = None,
    alibi: Tensor | None = None,
    segments: Tensor | None = None,
    query_segments: Tensor | None = None,
    spans: Tensor | None = None,
    disjoint: bool = False,
    recency: Sequence[int] = (),
    top_k: int = 0,
    forgetting: float | None = None,
    first_key: int = 0,
    partial: bool = False,
    backend: str = "auto",
    queries: int = streamed.QUERIES,
    keys: int = streamed.KEYS,
) -> AttentionStats:
    """Attention of one layer together with what its pattern looks like, without ever holding the pattern.

    Args:
        q: [batch head query d_head], any strides; with `k` and `v` of one floating dtype on one device.
        k: [batch kv_head key d_head], not repeated: head h reads key head h // (heads / kv_heads).
        v: [batch kv_head key d_value].
        scale: of the scores; 1/√d_head when absent.
        causal: a query sees no later key.
        offset: position of the first query; by default the queries are the last ones of the keys.
        window: a query sees keys at distance < window only.
        soft_cap: scores are capped to ±soft_cap by tanh.
        alibi: [head] slopes.
        segments: [batch key] integer ids of packed texts, each one run; a query sees its own text only.
        query_segments: [batch query] ids; those of the keys at the queries' positions when absent.
        spans: bool [batch span key] or [1 span key], any sets of keys, also overlapping ones.
        disjoint: refuse spans that overlap.
        recency: windows w: the mass of visible keys at distance < w.
        top_k: how many of the largest weights to keep with their keys.
        forgetting: α above 0 and up to 1: accumulate each key's mass, α^n for a query that n later ones follow.
        first_key: position of the first key given, when `k` and `v` are a part of all keys.
        partial: a part: queries that see none of these keys are allowed. They have log_sum_exp −inf, keys −1, else 0.
        backend: "auto" takes "compiled" on a CPU with a C compiler, "triton" on CUDA, else "streamed"; or one of
            these or "naive". "compiled" computes in fp32; "streamed" runs anywhere.
        queries: how many queries "streamed" looks at together.
        keys: how many keys "streamed" looks at together.

    Raises:
        ValueError: arguments that do not fit, NaN or infinite input (with its count), a query that sees no key, scores
            beyond fp32, or a backend for another device.
        NoCompiler: "compiled" was asked for and cannot be compiled here.
        ImportError: "triton" was asked for and is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    asked = Question.of(
        q, k, v, scale=scale, causal=causal, offset=offset, window=window, soft_cap=soft_cap, alibi=alibi,
        segments=segments, query_segments=query_segments, spans=spans, disjoint=disjoint, recency=recency, top_k=top_k,
        forgetting=forgetting, first_key=first_key, partial=partial,
    )  # fmt: skip
    if backend == "auto":
        backend = _choice(q)
    if backend == "streamed":
        return check_overflow(streamed.attention_stats(asked, queries, keys), partial)
    return check_overflow(_version(backend, q)(asked), partial)


def _choice(q: Tensor) -> str:
    if q.is_cuda:
        return "triton" if importlib.util.find_spec("triton") else "streamed"
    return "compiled" if q.device.type == "cpu" and not why_not(compiled.SOURCE) else "streamed"


def _version(backend: str, q: Tensor) -> Callable[[Question], AttentionStats]:
    if backend == "naive":
        return naive.attention_stats
    if backend == "compiled":
        if q.device.type != "cpu":
            raise ValueError(f"backend 'compiled' needs tensors on the CPU, got {q.device}")
        return compiled.attention_stats
    from kernels.attention_stats import triton_version

    return triton_version.attention_stats
