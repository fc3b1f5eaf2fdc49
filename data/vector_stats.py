"""Statistics of stored vectors, and the checksum of stored bytes: each in one pass over a piece that fits the cache."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kernels.vector_stats import compiled, why_not

_ROWS = 256  # vectors looked at together
_BLOCK = 512  # words of 8 bytes under one number of the checksum
# Odd, so that no change of a single word goes unseen; otherwise arbitrary.
_WEIGHTS = np.random.Generator(np.random.PCG64(20260)).integers(0, 2**63, _BLOCK, dtype=np.int64) * 2 + 1


@dataclass(frozen=True)
class VectorStats:
    """For vectors `[rows, …]`, each flattened: Euclidean norm, mean, largest absolute value and its channel.

    `nan_count` and `inf_count` are numbers, not vectors.
    """

    norm: np.ndarray
    mean: np.ndarray
    max_abs: np.ndarray
    argmax: np.ndarray
    nan_count: int
    inf_count: int

    @property
    def n_bytes(self) -> int:
        """What the arrays take."""
        return self.norm.nbytes + self.mean.nbytes + self.max_abs.nbytes + self.argmax.nbytes


def stats_of(vectors: Tensor) -> VectorStats:
    """Statistics of `[rows, …]` in float32, float16 or bfloat16, contiguous and on the host.

    On the caller's thread: so many short steps on torch's thread pool stall as soon as a core is busy. By one compiled
    pass where there is a compiler, otherwise in NumPy; the sums of the two may differ in the last bit.
    """
    if not why_not(vectors.dtype):
        found = compiled(vectors.flatten(1))
        norm, mean, max_abs, argmax = (column.numpy() for column in found[:4])
        return VectorStats(norm, mean, max_abs, argmax, found.nan_count, found.inf_count)
    return stats_in_numpy(vectors)


def stats_in_numpy(vectors: Tensor) -> VectorStats:
    """`stats_of` without compiled code."""
    flat = bits_of(vectors)
    parts = [_part(flat[start : start + _ROWS], vectors.dtype) for start in range(0, len(flat), _ROWS)]
    norm, mean, max_abs, argmax = (np.concatenate(columns) for columns in zip(*(p[:4] for p in parts), strict=True))
    return VectorStats(norm, mean, max_abs, argmax, sum(p[4] for p in parts), sum(p[5] for p in parts))


def _part(bits: np.ndarray, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, int]:
    wide = widened(bits, dtype)
    # Without its sign bit a float compares as the whole number with the same bits does, NaN above infinity.
    argmax = (bits & bits.dtype.type(np.iinfo(bits.dtype).max)).argmax(axis=1)
    max_abs = np.abs(np.take_along_axis(wide, argmax[:, None], 1)[:, 0])
    odd = ~np.isfinite(max_abs)
    nan_count = inf_count = 0
    if odd.any():
        nan_count, inf_count = int(np.isnan(wide[odd]).sum()), int(np.isinf(wide[odd]).sum())
    with np.errstate(invalid="ignore", over="ignore"):
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        mean = np.add.reduce(wide, axis=1) / np.float32(wide.shape[1])
    return norm, mean, max_abs, argmax.astype(np.int32), nan_count, inf_count


def bits_of(vectors: Tensor) -> np.ndarray:
    """`[rows, …]` as whole numbers of the same bits, [rows numbers], without a copy."""
    return vectors.flatten(1).view(torch.int16 if vectors.dtype.itemsize == 2 else torch.int32).numpy()


def widened(bits: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The float32 values that bits of a stored type stand for."""
    if dtype == torch.bfloat16:
        wide = bits.astype(np.int32)
        return np.left_shift(wide, 16, out=wide).view(np.float32)
    return bits.view(np.float16).astype(np.float32) if dtype == torch.float16 else bits.view(np.float32)


class Checksum:
    """A checksum over bytes that come in pieces: three times as fast as CRC-32, made for damage and not for forgery.

    Every 4 KiB become Σ weight·word mod 2⁶⁴ with fixed odd weights, and the CRC-32 of those sums is the checksum.
    """

    def __init__(self) -> None:
        self._crc, self._tail = 0, b""

    def update(self, piece: memoryview) -> None:
        """Take the next bytes."""
        size = 8 * _BLOCK
        if self._tail:
            missing = min(size - len(self._tail), piece.nbytes)
            self._tail += piece[:missing]
            piece = piece[missing:]
            if len(self._tail) < size:
                return
            self._blocks(self._tail)
            self._tail = b""
        whole = piece.nbytes - piece.nbytes % size
        if whole:
            self._blocks(piece[:whole])
        self._tail = bytes(piece[whole:])

    def _blocks(self, raw: bytes | memoryview) -> None:
        words = np.frombuffer(raw, "<i8").reshape(-1, _BLOCK)
        self._crc = zlib.crc32(np.einsum("ij,j->i", words, _WEIGHTS).tobytes(), self._crc)

    def __str__(self) -> str:
        """`sum64:HEX`. Bytes may still be added after it."""
        return f"sum64:{zlib.crc32(self._tail, self._crc):08x}"
