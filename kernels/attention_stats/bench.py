"""Time the versions beside plain SDPA; a version that fails its comparison with the definition is not timed."""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels._compiled import why_not
from kernels.attention_stats import compiled, naive, streamed
from kernels.attention_stats.stats import AttentionStats, Question

TOLERANCES = {"distance_mean": (1e-5, 1e-3), "distance_variance": (1e-4, 1e-2)}
"""(relative, absolute), where not 1e-5: distances are whole numbers of up to the context's length."""

Version = Callable[[Question], AttentionStats]


def disagreement(found: AttentionStats, wanted: AttentionStats, tolerance: float = 1e-5) -> str:
    """What differs first, in words, or "". Keys and counts must be equal, statistics close; NaN always differs."""
    for name in (field.name for field in fields(AttentionStats) if field.name != "backend"):
        a, b = getattr(found, name), getattr(wanted, name)
        if (a is None) != (b is None):
            return f"{name} is missing in one"
        if a is None:
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{name} is {tuple(a.shape)} {a.dtype} instead of {tuple(b.shape)} {b.dtype}"
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return f"{name} differs in {int((a != b).sum())} of {a.numel()} places"
            continue
        relative, absolute = TOLERANCES.get(name, (tolerance, tolerance))
        if a.dtype != torch.float32:
            relative = max(relative, 2 * torch.finfo(a.dtype).eps)
        if not torch.allclose(a.float(), b.float(), rtol=relative, atol=absolute):
            return f"{name} differs by up to {(a.float() - b.float()).abs().max().item():.2g}"
    return ""


def problem(
    n_query: int,
    n_key: int | None = None,
    *,
    batch: int = 1,
    heads: int = 9,
    kv_heads: int = 3,
    d_head: int = 64,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    exact: bool = True,
) -> dict[str, Any]:
    """q, k and v. Exact ones lie on a grid of eighths: any order of summation gives the same scores, many of them
    equal, so keys compare exactly. Otherwise normal, with scores of unit spread.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, length: int) -> Tensor:
        shape = (batch, count, length, d_head)
        grid = torch.randint(-16, 17, shape, generator=generator) / 8
        return (grid if exact else torch.randn(shape, generator=generator)).to(dtype)

    keys = n_key or n_query
    return {"q": draw(heads, n_query), "k": draw(kv_heads, keys), "v": draw(kv_heads, keys)}


def everything(n_key: int, top_k: int = 8) -> dict[str, Any]:
    """The statistics of the goal: a sink span, a recency window and top-8, beside those that are always there."""
    sink = torch.zeros(1, 1, n_key, dtype=torch.bool)
    sink[..., :1] = True
    return {"spans": sink, "recency": (64,), "top_k": top_k}


def default_versions() -> dict[str, Version]:
    """Those that run on this machine's CPU."""
    found: dict[str, Version] = {"streamed": streamed.attention_stats}
    return found if why_not(compiled.SOURCE) else found | {"compiled": compiled.attention_stats}


def bench(
    n_key: int = 4096,
    *,
    checked_at: int = 700,
    repeats: int = 5,
    versions: Mapping[str, Version] | None = None,
    **sizes: Any,
) -> dict[str, Any]:
    """Compare at `checked_at` tokens, then time at `n_key`, versions and plain SDPA taking turns.

    Returns:
        Plain JSON: sizes and, per version, median seconds, ratio to SDPA, and the most memory above the inputs in
        bytes (results included; None where the system does not say), also relative to the pattern's.

    Raises:
        ValueError: a version disagrees with the definition; nothing is timed then.
    """
    versions = default_versions() if versions is None else versions
    _compare(versions, checked_at, sizes)
    given = problem(n_key, **sizes, exact=False)

    def plain() -> Tensor:
        q, k, v = given.values()
        return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    def ours(version: Version) -> AttentionStats:
        return version(Question.of(**given, **everything(n_key)))

    calls = {"sdpa": plain} | {name: lambda version=version: ours(version) for name, version in versions.items()}
    memory = {name: _extra_memory(call) for name, call in calls.items()}
    medians = _medians(calls, repeats)
    pattern = given["q"].shape[0] * given["q"].shape[1] * n_key * n_key * 4
    report = {
        name: {
            "seconds": medians[name],
            "ratio": medians[name] / medians["sdpa"],
            "extra_bytes": memory[name],
            "share_of_pattern": _share(memory[name], pattern),
        }
        for name in calls
    }
    q_shape, k_shape = (list(given[name].shape) for name in ("q", "k"))
    about = {"q": q_shape, "k": k_shape, "dtype": str(given["q"].dtype), "threads": torch.get_num_threads()}
    return {"kernel": "attention_stats", **about, "pattern_bytes": pattern, "versions": report}


def pieces(n_key: int = 4096, *, repeats: int = 5, version: Version | None = None, **sizes: Any) -> dict[str, float]:
    """Median seconds of one version with nothing optional, with each option alone, and with all."""
    version = version or list(default_versions().values())[-1]
    given = problem(n_key, **sizes, exact=False)
    options = {name: {name: value} for name, value in everything(n_key).items()}
    asked = {"nothing": {}, **options, "forgetting": {"forgetting": 0.99}, "everything": everything(n_key)}

    def call(more: dict[str, Any]) -> Callable[[], object]:
        return lambda: version(Question.of(**given, **more))

    calls = {"checks": lambda: Question.of(**given, **everything(n_key))}
    return _medians(calls | {name: call(more) for name, more in asked.items()}, repeats)


def _medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taking turns: a slow minute of the machine then hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None else part / whole


def _compare(versions: Mapping[str, Version], length: int, sizes: dict[str, Any]) -> None:
    for exact in (True, False):
        asked = Question.of(**problem(length, **sizes, exact=exact), **everything(length))
        wanted = naive.attention_stats(asked)
        for name, version in versions.items():
            if wrong := disagreement(version(asked), wanted):
                raise ValueError(f"version {name!r} is not timed, because it disagrees with the definition: {wrong}")


def _extra_memory(call: Callable[[], object]) -> int | None:
    """Most resident bytes during one call above those before it, after one call to warm up; Linux only."""
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not marks.exists():
        return None
    call()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    marks.write_text("5")
    before = _resident(status, "VmRSS")
    kept = call()
    after = _resident(status, "VmHWM")
    del kept
    return after - before


def _resident(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    json.dump(bench() | {"pieces": pieces()}, sys.stdout, indent=1)
