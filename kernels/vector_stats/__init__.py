"""Statistics of every row of a matrix in one pass: norm, mean, largest absolute value and where, NaN and infinities."""

from kernels.vector_stats.naive import RowStats, naive
from kernels.vector_stats.native import compiled, why_not

__all__ = ["RowStats", "compiled", "naive", "why_not"]
