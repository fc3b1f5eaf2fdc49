"""Dictionary features of activations as (row, index, value), without the dense matrix of all features."""

from kernels.sparse_encode.dispatch import sparse_encode
from kernels.sparse_encode.naive import SparseCodes

__all__ = ["SparseCodes", "sparse_encode"]
