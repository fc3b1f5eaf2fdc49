"""Time the versions against each other; a version that fails its comparison with the definition is not timed."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kernels.pack import naive, streamed
from kernels.pack.naive import FORMATS, Packed

Version = Callable[[Tensor, str], Packed]


def disagreement(found: Packed, wanted: Packed) -> str:
    """What differs first, in words, or "". Packing is exact, so every part must be equal."""
    for name in ("format", "block", "nan_count", "inf_count"):
        if getattr(found, name) != getattr(wanted, name):
            return f"{name} is {getattr(found, name)} instead of {getattr(wanted, name)}"
    for name in ("data", "scale", "channels", "outliers"):
        a, b = getattr(found, name), getattr(wanted, name)
        if (a is None) != (b is None):
            return f"{name} is missing in one"
        if a is not None and (a.dtype != b.dtype or a.shape != b.shape or not torch.allclose(a, b, 0, 0, True)):
            return f"{name} differs"
    return ""


def bench(
    rows: int = 8192,
    width: int = 576,
    *,
    n_out: int = 576,
    repeats: int = 5,
    seed: int = 0,
    versions: Mapping[str, Version] | None = None,
) -> dict[str, Any]:
    """Compare, then time packing, unpacking and the dequantising product.

    Returns:
        Plain JSON: the sizes; for every format the bytes a number takes and, for every version, median seconds.

    Raises:
        ValueError: a version disagrees with the definition; nothing is timed then.
    """
    versions = versions or {"naive": naive.pack, "streamed": streamed.pack}
    generator = torch.Generator().manual_seed(seed)
    x, W = torch.randn(rows, width, generator=generator), torch.randn(width, n_out, generator=generator)
    x[:, width // 2] *= 100
    timed: dict[str, Any] = {}
    for kind in FORMATS:
        wanted = naive.pack(x, kind)
        for name, version in versions.items():
            if wrong := disagreement(version(x, kind), wanted):
                raise ValueError(
                    f"version {name!r} is not timed, because {kind} disagrees with the definition: {wrong}"
                )
        seconds = {f"pack {name}": _median(version, repeats, x, kind) for name, version in versions.items()}
        for name, module in (("naive", naive), ("streamed", streamed)):
            seconds[f"unpack {name}"] = _median(module.unpack, repeats, wanted)
            seconds[f"packed_matmul {name}"] = _median(module.packed_matmul, repeats, wanted, W)
        timed[kind] = {"bytes_a_number": wanted.nbytes / x.numel(), "seconds": seconds}
    plain = {"copy": _median(x.clone, repeats), "product": _median(torch.mm, repeats, x, W)}
    return {"kernel": "pack", "rows": rows, "width": width, "n_out": n_out, "formats": timed, "fp32": plain}


def _median(call: Callable[..., object], repeats: int, *given: object) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call(*given)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    json.dump(bench(), sys.stdout, indent=1)
