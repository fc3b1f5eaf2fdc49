"""Quantising and the dequantising product as Triton kernels; outlier channels go through torch, they are few."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.pack.naive import Packed


@triton.jit
def _quantise(  # type: ignore[no-untyped-def]
    x_at, victim_at, data_at, scale_at, rows, width, blocks, x_r, x_d, block, ROWS: tl.constexpr, CELL: tl.constexpr
):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    part, lane = tl.program_id(1), tl.arange(0, CELL)
    channel = part * block + lane
    here = (row < rows)[:, None] & ((lane < block) & (channel < width))[None, :]
    x = tl.load(x_at + row[:, None] * x_r + channel[None, :] * x_d, mask=here, other=0.0).to(tl.float32)
    x = x * tl.load(victim_at + channel, mask=channel < width, other=0.0)[None, :]
    scale = tl.div_rn(tl.max(tl.abs(x), 1), tl.full([ROWS], 127.0, tl.float32))
    scale = tl.where(scale > 0, scale, 1.0)
    # Adding and taking away 1.5·2^23 rounds half to even.
    q = (tl.div_rn(x, scale[:, None] + tl.zeros_like(x)) + 12582912.0) - 12582912.0
    q = tl.minimum(tl.maximum(q, -127.0), 127.0)
    tl.store(data_at + row[:, None] * width + channel[None, :], q.to(tl.int8), mask=here)
    tl.store(scale_at + row * blocks + part, scale, mask=row < rows)


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    data_at, scale_at, W_at, out_at, rows, width, n_out, blocks, block, W_d, W_o,
    SCALED: tl.constexpr, ROWS: tl.constexpr, OUT: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    column = (tl.program_id(1) * OUT + tl.arange(0, OUT)).to(tl.int64)
    total = tl.zeros([ROWS, OUT], tl.float32)
    for first in range(0, width, DEPTH):
        d = first + tl.arange(0, DEPTH)
        here = (row < rows)[:, None] & (d < width)[None, :]
        x = tl.load(data_at + row[:, None] * width + d[None, :], mask=here, other=0).to(tl.float32)
        if SCALED:
            x *= tl.load(scale_at + row[:, None] * blocks + (d // block)[None, :], mask=here, other=0.0)
        w = tl.load(W_at + d[:, None].to(tl.int64) * W_d + column[None, :] * W_o,
                    mask=(d < width)[:, None] & (column < n_out)[None, :], other=0.0)  # fmt: skip
        total += tl.dot(x, w.to(tl.float32), input_precision="ieee")
    tl.store(
        out_at + row[:, None] * n_out + column[None, :], total, mask=(row < rows)[:, None] & (column < n_out)[None, :]
    )


def quantise(x: Tensor, channels: Tensor, data: Tensor, scale: Tensor, block: int) -> None:
    """Fill data [row d] int8 and scale [row block] from x [row d], whose outlier channels count as 0."""
    rest = torch.ones(x.shape[1], device=x.device).index_fill_(0, channels, 0.0)
    if len(x):
        cell = triton.next_power_of_2(block)
        _quantise[(triton.cdiv(len(x), 16), scale.shape[1])](
            x, rest, data, scale, *x.shape, scale.shape[1], *x.stride(), block, ROWS=16, CELL=cell
        )


def packed_matmul(packed: Packed, W: Tensor) -> Tensor:
    """[row out] fp32; numbers are unpacked in registers."""
    rows, width = packed.data.shape
    out = torch.empty(rows, W.shape[1], device=W.device)
    scale = out if packed.scale is None else packed.scale
    if out.numel():
        _product[(triton.cdiv(rows, 32), triton.cdiv(W.shape[1], 64))](
            packed.data, scale, W, out, rows, width, W.shape[1], scale.shape[1], packed.block, *W.stride(),
            SCALED=packed.scale is not None, ROWS=32, OUT=64, DEPTH=32,
        )  # fmt: skip
    return out.addmm_(packed.outliers, W[packed.channels].float())
