"""The same by one compiled pass over rows in bfloat16 or float32 on the CPU, on the calling thread."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from kernels import _compiled
from kernels.vector_stats.naive import RowStats

SOURCE = Path(__file__).with_name("rows.c")
_FUNCTIONS = {torch.bfloat16: "rows_bfloat16", torch.float32: "rows_float32"}


def why_not(dtype: torch.dtype) -> str:
    """Why `compiled` cannot take this type here, or ""."""
    return _compiled.why_not(SOURCE) if dtype in _FUNCTIONS else f"{dtype} is not compiled; valid: bfloat16, float32"


def compiled(rows: Tensor) -> RowStats:
    """Statistics of `rows` [row width].

    Raises:
        ValueError: rows that are not a contiguous matrix with columns on the CPU in bfloat16 or float32.
        kernels._compiled.NoCompiler: no compiled code here, and why.
    """
    if rows.ndim != 2 or not rows.shape[1] or rows.dtype not in _FUNCTIONS or rows.device.type != "cpu":
        raise ValueError(f"rows must be [row width] on the CPU in bfloat16 or float32; got {tuple(rows.shape)}")
    if not rows.is_contiguous():
        raise ValueError(f"rows must be contiguous; got strides {rows.stride()} for shape {tuple(rows.shape)}")
    run = getattr(_compiled.load(SOURCE), _FUNCTIONS[rows.dtype])
    run.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 5]
    run.restype = None
    norm, mean, max_abs = (torch.empty(len(rows)) for _ in range(3))
    argmax, odd = torch.empty(len(rows), dtype=torch.int32), torch.zeros(2, dtype=torch.int64)
    found = [one.data_ptr() for one in (norm, mean, max_abs, argmax, odd)]
    run(rows.data_ptr(), rows.shape[0], rows.shape[1], *found)
    nan_count, inf_count = odd.tolist()
    return RowStats(norm, mean, max_abs, argmax, nan_count, inf_count)
