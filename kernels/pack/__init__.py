"""Activations in fewer bytes, read back without unpacking all of them, and what the saving costs."""

from kernels.pack.errors import PackingError, packing_error
from kernels.pack.naive import FORMATS, Packed
from kernels.pack.streamed import pack, packed_matmul, unpack

__all__ = ["FORMATS", "Packed", "PackingError", "pack", "packed_matmul", "packing_error", "unpack"]
