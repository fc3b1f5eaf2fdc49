"""Activation shards: safetensors files written once, in a durable order, and read through the memory map."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.workspace import sync_folder
from hooks.errors import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_ALIGNMENT = 64  # bytes; a mapped tensor then starts on a cache line


@dataclass(frozen=True)
class Block:
    """One tensor to be written: its size is known before its values are made."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor]


@dataclass(frozen=True)
class Written:
    """Where a block went, with its checksum and how many of its elements are not finite."""

    byte_offset: int
    n_bytes: int
    checksum: str
    nan_count: int
    inf_count: int


def write_shard(path: Path, dtype: str, blocks: list[Block], notes: dict[str, str]) -> Iterator[tuple[Written, Tensor]]:
    """Write the blocks one by one, yielding each with its tensor; the file has its name once the last is consumed.

    Order: temporary name, fsync, rename, fsync of the folder. Only then may a catalogue speak of the file. Whatever
    stops it before that leaves nothing behind but, after a kill, a file ending in `.partial`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(_header(dtype, blocks, notes))
            for block in blocks:
                offset = file.tell()
                tensor = block.make()
                raw = tensor.view(torch.uint8).numpy().data.cast("B")
                file.write(raw)
                checksum = f"crc32:{zlib.crc32(raw):08x}"
                yield Written(offset, raw.nbytes, checksum, *_nonfinite(tensor)), tensor
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def joined(parts: list[Tensor]) -> Tensor:
    """The rows of contiguous tensors of one type, one after another.

    As bytes through NumPy, on one thread: torch.cat waits for its thread pool, which stalls beside a busy model.
    """
    raw = np.concatenate([part.view(torch.uint8).numpy() for part in parts])
    return torch.from_numpy(raw).view(parts[0].dtype)


def _nonfinite(tensor: Tensor) -> tuple[int, int]:
    """How many NaN and how many infinities; one pass when there are none."""
    if bool(tensor.isfinite().all()):
        return 0, 0
    return int(tensor.isnan().sum()), int(tensor.isinf().sum())


def _header(dtype: str, blocks: list[Block], notes: dict[str, str]) -> bytes:
    """Length and JSON header of a safetensors file, padded with spaces to the alignment."""
    entries: dict[str, object] = {"__metadata__": notes}
    end = 0
    for block in blocks:
        start, end = end, end + torch.Size(block.shape).numel() * DTYPES[dtype].itemsize
        entries[block.name] = {"dtype": _SAFETENSORS_NAMES[dtype], "shape": block.shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def map_shard(path: Path, n_bytes: int) -> mmap.mmap:
    """The file's pages, copied on write: nothing done to a tensor over them reaches the file.

    Raises InputError when the file is missing or not of the size the catalogue gives.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != n_bytes:
                raise InputError(f"shard {path} has {size} bytes where the catalogue says {n_bytes}; capture it again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError as error:
        raise InputError(f"shard {path} is missing; restore it or capture it again") from error


def tensor_at(pages: mmap.mmap, dtype: str, shape: tuple[int, ...], byte_offset: int) -> Tensor:
    """The tensor that lies at an offset of the mapped file, without a copy."""
    count = torch.Size(shape).numel()
    return torch.frombuffer(pages, dtype=DTYPES[dtype], count=count, offset=byte_offset).view(shape)


def checksum_at(pages: mmap.mmap, byte_offset: int, n_bytes: int) -> str:
    """The checksum of a range of the mapped file, as `Written.checksum`."""
    with memoryview(pages) as view, view[byte_offset : byte_offset + n_bytes] as part:
        return f"crc32:{zlib.crc32(part):08x}"
