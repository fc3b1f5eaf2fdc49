"""The same in C: every tile of scores is made, read once for all statistics and used while it is in the cache.

A flash-attention loop. Blocks of queries and heads go to threads; for each tile of 256 keys a register-blocked product
gives the scores, one sweep per row turns them into weights and adds to the sums (relative to the largest score so
far, in fp64 between tiles), and a second product adds weights · values to the output. The running top-k looks at a
tile only when its largest score beats the k-th so far. Memory beyond the results: packed keys and values, and a tile
a thread. Key masses need the finished log-sum-exp and take a second pass over the scores.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels._compiled import load
from kernels.attention_stats.stats import AttentionStats, Question

SOURCE = Path(__file__).parent / "native" / "attention.c"

_SIZES = (
    "batch", "heads", "kv_heads", "n_query", "n_key", "d_head", "d_value", "n_span", "n_window", "top_k", "position",
    "first_key", "threads",
)  # fmt: skip
_OUTPUTS = (
    "out", "log_sum_exp", "entropy", "max_weight", "distance_mean", "distance_variance", "max_key", "span_mass",
    "recency_mass", "top_weights", "residual_mass", "top_keys", "key_mass",
)  # fmt: skip


class _Call(ctypes.Structure):
    """native/call.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in _SIZES),
        *((name, ctypes.c_double) for name in ("scale", "soft_cap")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v")),
        *((name, ctypes.c_int64 * 4) for name in ("q_step", "k_step", "v_step")),
        *((name, ctypes.c_void_p) for name in ("slopes", "first", "last", "windows", "spans", "decay")),
        *((name, ctypes.c_void_p) for name in _OUTPUTS),
    ]


@torch.no_grad()
def attention_stats(asked: Question) -> AttentionStats:
    """On the CPU, in fp32 whatever the input's dtype. Raise NoCompiler when it cannot be compiled."""
    native = load(SOURCE)
    native.tile_keys.restype = ctypes.c_int64
    q, k, v = asked.q.float(), asked.k.float(), asked.v.float()
    given = _inputs(asked, native.tile_keys())
    results = _outputs(asked)
    call = _Call(
        **_sizes(asked),
        scale=asked.rule.scale,
        soft_cap=asked.rule.soft_cap or 0.0,
        **{name: x.data_ptr() for name, x in (("q", q), ("k", k), ("v", v))},
        **{f"{name}_step": x.stride() for name, x in (("q", q), ("k", k), ("v", v))},
        **{name: _address(x) for name, x in (given | results).items()},
    )
    if native.attention_stats(ctypes.byref(call)):
        raise MemoryError(f"no memory for the packed keys and values of {tuple(k.shape)}")
    results["out"] = results["out"].to(asked.q.dtype)
    return AttentionStats(
        **results,
        span_visible=asked.span_visible(),
        recency_visible=asked.recency_visible(),
        backend="compiled",
    )


def _sizes(asked: Question) -> dict[str, int]:
    batch, heads, n_query, d_head = asked.q.shape
    return {
        "batch": batch,
        "heads": heads,
        "kv_heads": asked.k.shape[1],
        "n_query": n_query,
        "n_key": asked.k.shape[2],
        "d_head": d_head,
        "d_value": asked.v.shape[3],
        "n_span": asked.spans.shape[1],
        "n_window": len(asked.recency),
        "top_k": asked.top_k,
        "position": asked.rule.position,
        "first_key": asked.first_key,
        "threads": torch.get_num_threads(),
    }


def _inputs(asked: Question, tile: int) -> dict[str, Tensor | None]:
    rule = asked.rule
    return {
        "slopes": None if rule.slopes is None else rule.slopes.contiguous(),
        "first": rule.first.contiguous(),
        "last": rule.last.contiguous(),
        "windows": torch.tensor(asked.recency, dtype=torch.long),
        "spans": _marks(asked.spans, tile),
        "decay": asked.decay(),
    }


def _marks(spans: Tensor, tile: int) -> Tensor:
    """[batch, span·tile + span·key] uint8: whether each tile of keys is out of the span (0), in it (1) or both (2)."""
    padded = torch.nn.functional.pad(spans, (0, -spans.shape[2] % tile))
    real = torch.nn.functional.pad(torch.ones_like(spans), (0, -spans.shape[2] % tile))
    some = padded.unflatten(2, (-1, tile)).any(-1)
    every = (padded | ~real).unflatten(2, (-1, tile)).all(-1)
    kind = torch.where(every, 1, torch.where(some, 2, 0)).to(torch.uint8)
    return torch.cat([kind.flatten(1), padded.flatten(1).to(torch.uint8)], dim=1).contiguous()


def _outputs(asked: Question) -> dict[str, Any]:
    shape = asked.q.shape[:3]

    def empty(*more: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(*shape, *more, dtype=dtype)

    names = ("log_sum_exp", "entropy", "max_weight", "distance_mean", "distance_variance", "residual_mass")
    return {
        "out": empty(asked.v.shape[3]),
        **{name: empty() for name in names},
        "max_key": empty(dtype=torch.long),
        "span_mass": empty(asked.spans.shape[1]),
        "recency_mass": empty(len(asked.recency)),
        "top_weights": empty(asked.top_k),
        "top_keys": empty(asked.top_k, dtype=torch.long),
        "key_mass": None if asked.forgetting is None else torch.empty(*shape[:2], asked.k.shape[2]),
    }


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
