"""Time the versions against each other; a version that fails its comparison with the definition is not timed."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from kernels.sparse_encode import naive, streamed
from kernels.sparse_encode.naive import SparseCodes

TOLERANCE = 1e-5
Version = Callable[..., SparseCodes]


def disagreement(found: SparseCodes, wanted: SparseCodes, tolerance: float = TOLERANCE) -> str:
    """What differs first, in words, or "". The kept features must be the same, values close; NaN always differs."""
    for name in ("row_pointer", "index"):
        a, b = getattr(found, name), getattr(wanted, name)
        if a.dtype != b.dtype or not torch.equal(a, b):
            return f"{name} differs: {len(found.index)} kept instead of {len(wanted.index)}, or others"
    if found.value.dtype != wanted.value.dtype:
        return f"value is {found.value.dtype} instead of {wanted.value.dtype}"
    if not torch.allclose(found.value, wanted.value, rtol=tolerance, atol=tolerance):
        return f"value differs by up to {(found.value - wanted.value).abs().max().item():.2g}"
    return ""


def problem(
    rows: int, d_in: int, d_dict: int, activation: str, *, k: int, dtype: torch.dtype, seed: int, exact: bool = True
) -> dict[str, Any]:
    """Arguments of a call; exact ones lie on a grid of sixteenths, with the same sums in any order and many ties."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        grid = torch.randint(-8, 9, shape, generator=generator) / 16
        return (grid if exact else torch.randn(shape, generator=generator) / d_in**0.25).to(dtype)

    given: dict[str, Any] = {"x": draw(rows, d_in), "W": draw(d_dict, d_in).T, "b": draw(d_dict)}
    given["activation"] = activation
    if activation in ("topk", "batch_topk"):
        given["k"] = k
    if activation == "jumprelu":
        given["threshold"] = draw(d_dict).float().abs() + (0 if exact else 1.5)
    return given


def bench(
    rows: int = 512,
    d_in: int = 576,
    d_dict: int = 16384,
    *,
    k: int = 32,
    repeats: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    versions: Mapping[str, Version] | None = None,
) -> dict[str, Any]:
    """Compare, then time, for every activation.

    Returns:
        Plain JSON: the sizes, the median seconds of every version and activation, and of the bare matrix product.

    Raises:
        ValueError: a version disagrees with the definition; nothing is timed then.
    """
    versions = versions or {"naive": naive.sparse_encode, "streamed": streamed.sparse_encode}
    for activation in naive.ACTIVATIONS:
        given = problem(rows, d_in, d_dict, activation, k=k, dtype=dtype, seed=seed)
        wanted = naive.sparse_encode(**given)
        for name, version in versions.items():
            if wrong := disagreement(version(**given), wanted):
                raise ValueError(f"version {name!r} is not timed, because {activation} disagrees: {wrong}")
    timed: dict[str, dict[str, float]] = {}
    for activation in naive.ACTIVATIONS:
        given = problem(rows, d_in, d_dict, activation, k=k, dtype=dtype, seed=seed, exact=False)
        timed[activation] = {name: _median(lambda v=version: v(**given), repeats) for name, version in versions.items()}  # type: ignore[misc]  # noqa: B023
        timed[activation]["product"] = _median(lambda: given["x"] @ given["W"], repeats)  # noqa: B023
    sizes = {"rows": rows, "d_in": d_in, "d_dict": d_dict, "k": k}
    return {"kernel": "sparse_encode", **sizes, "dtype": str(dtype), "seconds": timed}


def _median(call: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    json.dump(bench(), sys.stdout, indent=1)
