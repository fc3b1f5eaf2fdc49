"""Time the versions against each other; a version that fails its comparison with the definition is not timed."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kernels import _compiled
from kernels.vocab_lens import compiled, naive, native, streamed

TOLERANCE = 1e-5
Version = Callable[..., naive.VocabLens]


def disagreement(found: naive.VocabLens, wanted: naive.VocabLens, tolerance: float = TOLERANCE) -> str:
    """What differs first, in words, or "". Ids and ranks must be equal, statistics close; NaN always differs."""
    for field in (f for f in fields(naive.VocabLens) if f.name != "backend"):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if (a is None) != (b is None):
            return f"{field.name} is missing in one"
        if a is None:
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{field.name} is {tuple(a.shape)} {a.dtype} instead of {tuple(b.shape)} {b.dtype}"
        if not a.is_floating_point() and not torch.equal(a, b):
            return f"{field.name} differs in {int((a != b).sum())} of {a.numel()} places"
        if a.is_floating_point() and not torch.allclose(a, b, rtol=tolerance, atol=tolerance):
            return f"{field.name} differs by up to {(a - b).abs().max().item():.2g}"
    return ""


def problem(
    rows: int,
    d_model: int,
    d_vocab: int,
    *,
    k: int,
    targets: int,
    dtype: torch.dtype,
    device: str,
    seed: int,
    exact: bool = True,
) -> dict[str, Any]:
    """Arguments of a call. Exact ones lie on a grid of sixteenths: any order of summation gives the same logits, many
    of them equal, so ids and ranks compare exactly. Otherwise normal, with logits of a model's spread: for timing.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        grid = torch.randint(-8, 9, shape, generator=generator) / 16
        drawn = grid if exact else torch.randn(shape, generator=generator) * 2 / d_model**0.25
        return drawn.to(dtype).to(device)

    return {
        "hidden": draw(rows, d_model),
        "W_U": draw(d_vocab, d_model).T,
        "k": k,
        "targets": torch.randint(0, d_vocab, (rows, targets), generator=generator).to(device),
        "reference": draw(rows, d_model),
    }


def bench(
    rows: int = 240,
    d_model: int = 576,
    d_vocab: int = 49152,
    *,
    k: int = 10,
    targets: int = 2,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    repeats: int = 3,
    seed: int = 0,
    versions: Mapping[str, Version] | None = None,
) -> dict[str, Any]:
    """Compare, then time. The defaults are 15 tokens in 16 layers of the default model.

    Returns:
        Plain JSON: the sizes and, for every version, the median seconds and the bytes of logits that it holds at once.

    Raises:
        ValueError: a version disagrees with the definition; nothing is timed then.
    """
    if versions is None:
        versions = {"naive": naive.vocab_lens, "streamed": streamed.vocab_lens}
        if device == "cpu" and not _compiled.why_not(native.SOURCE):
            versions = {**versions, "compiled": compiled.vocab_lens}
    make = partial(problem, rows, d_model, d_vocab, k=k, targets=targets, dtype=dtype, device=device, seed=seed)
    given = make()
    wanted = naive.vocab_lens(**given)
    for name, version in versions.items():
        if wrong := disagreement(version(**given), wanted):
            raise ValueError(f"version {name!r} is not timed, because it disagrees with the definition: {wrong}")
    given = make(exact=False)
    held = {"naive": rows * d_vocab * 4, "streamed": rows * min(streamed.BLOCK, d_vocab) * 4}
    held["compiled"] = torch.get_num_threads() * compiled.ROWS * min(compiled.BLOCK, d_vocab) * 4
    timed = {n: {"seconds": _median(v, given, repeats), "logit_bytes": held.get(n)} for n, v in versions.items()}
    sizes = {"rows": rows, "d_model": d_model, "d_vocab": d_vocab, "k": k, "targets": targets}
    return {"kernel": "vocab_lens", **sizes, "dtype": str(dtype), "device": device, "versions": timed}


def _median(version: Version, given: dict[str, Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        version(**given)
        if given["hidden"].is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    json.dump(bench(), sys.stdout, indent=1)
