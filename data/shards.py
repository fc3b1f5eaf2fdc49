"""Activation shards: safetensors files written once, in a durable order, and read through the memory map."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from data.vector_stats import Checksum
from data.workspace import sync_folder
from hooks.errors import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_ALIGNMENT = 64  # bytes; a mapped tensor then starts on a cache line
_BUFFER = 1 << 18
_SEND = 8 << 20  # bytes written between two nudges of the disk


@dataclass(frozen=True)
class Block:
    """One tensor to be written: its rows come in contiguous pieces, one after another."""

    name: str
    shape: tuple[int, ...]
    pieces: Sequence[Tensor]


@dataclass(frozen=True)
class Written:
    """Where a block went, and its checksum."""

    byte_offset: int
    n_bytes: int
    checksum: str


def write_shard(path: Path, dtype: str, blocks: list[Block], notes: dict[str, str]) -> list[Written]:
    """Write the blocks one by one; the file is whole and durable when this returns.

    Order: temporary name, fsync, rename, fsync of the folder. Only then may a catalogue speak of the file. Whatever
    stops it before that leaves nothing behind but, after a kill, a file ending in `.partial`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb", buffering=_BUFFER) as file:
            file.write(_header(dtype, blocks, notes))
            sent = 0
            written = []
            for block in blocks:
                written.append(_write_block(file, block))
                if file.tell() - sent >= _SEND:
                    sent = _start_sending(file, sent)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _write_block(file: BinaryIO, block: Block) -> Written:
    offset, checksum = file.tell(), Checksum()
    for piece in block.pieces:
        raw = piece.view(torch.uint8).numpy().data.cast("B")
        checksum.update(raw)
        file.write(raw)
    return Written(offset, file.tell() - offset, str(checksum))


def _start_sending(file: BinaryIO, sent: int) -> int:
    """Let the disk begin with what is written so far, so that the fsync at the end has little left to wait for."""
    file.flush()
    end = file.tell()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), sent, end - sent, os.POSIX_FADV_DONTNEED)
    return end


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


def checksum_at(pages: mmap.mmap, byte_offset: int, n_bytes: int, like: str) -> str:
    """The checksum of a range of the mapped file, of the same kind as `like`: `Written.checksum`, or older `crc32:`."""
    with memoryview(pages) as view, view[byte_offset : byte_offset + n_bytes] as part:
        if like.startswith("crc32:"):
            return f"crc32:{zlib.crc32(part):08x}"
        checksum = Checksum()
        checksum.update(part)
        return str(checksum)
