"""scan.c as functions of tensors, and the running state that it works on."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from kernels import _compiled
from kernels.vocab_lens.near import CAPACITY, Windows

SOURCE = Path(__file__).parent / "scan.c"

_POINTER = ctypes.c_void_p


class _Rows(ctypes.Structure):
    """`struct rows` of scan.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("k", "targets", "capacity")),
        *((name, _POINTER) for name in ("top_values", "top_ids", "found", "peak", "sum", "moment")),
        *((name, _POINTER) for name in ("low", "high", "above", "near", "near_values", "near_ids")),
        *((name, _POINTER) for name in ("cross", "weights", "their_sum", "their_move", "index")),
    ]


@dataclass(frozen=True, eq=False)
class Block:
    """fp32 columns [d_model block] and bias [block] of the ids from `first`; one stride of the columns is 1."""

    first: int
    columns: Tensor
    bias: Tensor | None

    def product(self, states: Tensor, out: Tensor | None = None) -> Tensor:
        """[row block] logits of fp32 states [row d_model], contiguous, in the memory of `out` if there is one."""
        shape = states.shape[0], self.columns.shape[1]
        here = torch.empty(shape) if out is None else out.view(-1)[: shape[0] * shape[1]].view(shape)
        if self.bias is None:
            return torch.mm(states, self.columns, out=here)
        return torch.addmm(self.bias, states, self.columns, out=here)


@dataclass(eq=False)
class State:
    """Running sums and tops of one set of rows; owns the memory that `given` points to."""

    tensors: dict[str, Tensor]
    given: _Rows

    @classmethod
    def of(cls, rows: int, k: int, windows: Windows | None = None, index: Tensor | None = None) -> State:
        zeros = {name: torch.zeros(rows, dtype=torch.float64) for name in ("sum", "moment", "cross")}
        tensors = {
            "top_values": torch.zeros(rows, k),
            "top_ids": torch.zeros(rows, k, dtype=torch.long),
            "found": torch.zeros(rows, dtype=torch.long),
            "peak": torch.full((rows,), float("-inf"), dtype=torch.float64),
            **zeros,
        }
        if windows is not None:
            names = {"inside": "near", "values": "near_values", "ids": "near_ids"}
            tensors |= {names.get(f.name, f.name): getattr(windows, f.name) for f in fields(Windows)}
        if index is not None:
            tensors["index"] = index
        targets = 0 if windows is None else windows.low.shape[1]
        pointers = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        return cls(tensors, _Rows(k=k, targets=targets, capacity=CAPACITY, **pointers))

    @property
    def log_sum_exp(self) -> Tensor:
        """[row] fp64."""
        return self.tensors["peak"] + self.tensors["sum"].log()

    def absorb(self, logits: Tensor, at: int, first: int) -> None:
        """Take in [row block] logits of the rows beginning with `at`, ids from `first`."""
        _library().scan(ctypes.byref(self.given), logits.data_ptr(), at, *logits.shape, first, torch.get_num_threads())

    def absorb_product(self, block: Block, states: Tensor, buffers: Tensor) -> None:
        """Take in states [row d_model] · columns + bias, computed in [thread together block] buffers."""
        if not gemm():
            for at in range(0, states.shape[0], buffers.shape[1]):
                self.absorb(block.product(states[at : at + buffers.shape[1]], buffers), at, block.first)
            return
        n, transposed = block.columns.shape[1], block.columns.stride(0) == 1
        stride = max(block.columns.stride(1), states.shape[1]) if transposed else max(block.columns.stride(0), n)
        bias = None if block.bias is None else block.bias.data_ptr()
        _library().multiply_and_scan(
            ctypes.byref(self.given), gemm(), states.data_ptr(), states.shape[0], block.columns.data_ptr(),
            stride, transposed, states.shape[1], bias, n, block.first, buffers.shape[1], buffers.data_ptr(),
            buffers.shape[0],
        )  # fmt: skip

    def compare(self, weights: Tensor, their_sum: Tensor, their_move: Tensor) -> None:
        """The references' exp(r - n) in the coming block, and their sum and move of the maximum before it."""
        self.tensors |= {"weights": weights, "their_sum": their_sum, "their_move": their_move}
        for name in ("weights", "their_sum", "their_move"):
            setattr(self.given, name, self.tensors[name].data_ptr())


def weigh(logits: Tensor, peak: Tensor) -> None:
    """[row block] logits become exp(l - peak), in place."""
    _library().weigh(logits.data_ptr(), peak.data_ptr(), *logits.shape, torch.get_num_threads())


def mixture(logits: Tensor, lse: Tensor, theirs: Tensor, their_lse: Tensor, index: Tensor, twice: Tensor) -> None:
    """Add a block's part of twice the Jensen-Shannon divergence to [row] `twice`; see naive.mixture_terms."""
    pointers = [one.data_ptr() for one in (logits, lse, theirs, their_lse, index, twice)]
    _library().mixture(*pointers, *logits.shape, torch.get_num_threads())


def require() -> None:
    """Raise kernels._compiled.NoCompiler if there is no compiled code here."""
    _library()


@cache
def gemm() -> int:
    """The address of the single-precision product in torch's own MKL, or 0: torch exports it on x86 only.

    Called from a thread of a parallel loop it stays on that thread, so that its logits are read from that core's cache.
    """
    folder = Path(torch.__file__).parent / "lib"
    try:
        function = ctypes.CDLL(str(folder / "libtorch_cpu.so")).sgemm_
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(function, _POINTER).value or 0 if torch.backends.mkl.is_available() else 0


@cache
def _library() -> ctypes.CDLL:
    library = _compiled.load(SOURCE)
    size, number = ctypes.c_int64, ctypes.c_int
    library.scan.argtypes = [ctypes.POINTER(_Rows), _POINTER, size, size, size, size, number]
    library.multiply_and_scan.argtypes = [
        *(ctypes.POINTER(_Rows), _POINTER, _POINTER, size, _POINTER, number, number, number),
        *(_POINTER, number, size, number, _POINTER, number),
    ]
    library.weigh.argtypes = [_POINTER] * 2 + [size, size, number]
    library.mixture.argtypes = [_POINTER] * 6 + [size, size, number]
    return library
