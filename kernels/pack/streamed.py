"""The same a few rows at a time, so that what is worked on stays in the cache and no second fp32 copy of all exists."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.pack import naive
from kernels.pack.naive import BLOCK, FORMATS, Packed

ROWS = 256
"""Rows worked on together: 256 × 576 fp32 are 0.6 MB."""

BACKENDS = ("auto", "naive", "streamed", "triton")


@torch.no_grad()
def pack(x: Tensor, format: str, *, outliers: bool = True, block: int = BLOCK, backend: str = "auto") -> Packed:
    """Arguments, results and errors of `naive.pack`; "auto" is the streamed version, on every device."""
    _check_backend(backend)
    if backend == "naive":
        return naive.pack(x, format, outliers=outliers, block=block)
    nan, inf = naive.check(x, format, block)
    channels = naive.outlier_channels(x) if outliers else torch.empty(0, dtype=torch.long, device=x.device)
    exact, data = x[:, channels].float(), torch.empty(x.shape, dtype=FORMATS[format], device=x.device)
    scale = None
    if format == "int8":
        scale = torch.empty(len(x), -(-x.shape[1] // block), device=x.device)
    if backend == "triton" and scale is not None:
        from kernels.pack import triton_version

        triton_version.quantise(x, channels, data, scale, block)
        return Packed(format, data, scale, channels, exact, block, nan, inf, "triton")
    if backend == "triton":
        raise ValueError(f"the Triton version packs int8 only, got format {format!r}: a cast is torch's own kernel")
    for first in range(0, len(x), ROWS):
        rows = slice(first, first + ROWS)
        rest = x[rows].to(torch.float32, copy=True).index_fill_(1, channels, 0.0)
        if scale is None:
            data[rows].copy_(rest)
        else:
            _quantise(rest, data[rows], scale[rows], block)
    if scale is None:
        naive.refuse_overflow(x, data, inf - int(exact.isinf().sum()))
    return Packed(format, data, scale, channels, exact, block, nan, inf, "streamed")


@torch.no_grad()
def unpack(packed: Packed, rows: Tensor | slice | None = None) -> Tensor:
    """[row d] fp32; of chosen rows only if `rows` is a slice or [chosen] int64 indices."""
    some: Tensor | slice = slice(None) if rows is None else rows
    data, exact = packed.data[some], packed.outliers[some]
    x = data.float()
    if packed.scale is not None:
        scale, whole = packed.scale[some], x.shape[1] // packed.block * packed.block
        if whole:
            x[:, :whole].unflatten(1, (-1, packed.block)).mul_(scale[:, : whole // packed.block, None])
        if whole < x.shape[1]:
            x[:, whole:].mul_(scale[:, -1:])
    return x.index_copy_(1, packed.channels, exact)


@torch.no_grad()
def packed_matmul(packed: Packed, W: Tensor, *, backend: str = "auto") -> Tensor:
    """Arguments, results and errors of `naive.packed_matmul`; never more than ROWS rows unpacked at once."""
    _check_backend(backend)
    if backend == "naive":
        return naive.packed_matmul(packed, W)
    if W.ndim != 2 or W.shape[0] != packed.data.shape[1]:
        raise ValueError(f"W must be [{packed.data.shape[1]} out], got {tuple(W.shape)}")
    if backend == "triton":
        from kernels.pack import triton_version

        return triton_version.packed_matmul(packed, W)
    columns = W.float()
    out = torch.empty(len(packed.data), W.shape[1], device=W.device)
    for first in range(0, len(out), ROWS):
        rows = slice(first, first + ROWS)
        torch.mm(unpack(packed, rows), columns, out=out[rows])
    return out


def _quantise(rest: Tensor, data: Tensor, scale: Tensor, block: int) -> None:
    whole = rest.shape[1] // block * block
    parts = [(rest[:, :whole], data[:, :whole], scale[:, : whole // block], block)] if whole else []
    if whole < rest.shape[1]:
        parts.append((rest[:, whole:], data[:, whole:], scale[:, -1:], rest.shape[1] - whole))
    for values, out, scales, width in parts:
        cells = values.unflatten(1, (-1, width))
        torch.amax(cells.abs(), dim=-1, out=scales)
        scales.div_(127).masked_fill_(scales == 0, 1.0)
        out.copy_(cells.div_(scales[..., None]).round_().clamp_(-127, 127).flatten(1))


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
