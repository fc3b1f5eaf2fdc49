"""The wide floats of one capture: where each block lies, and blocks as tensors or Arrow rows over the memory map."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from data.catalogue import Layout, SiteKey
from data.shards import DTYPES, checksum_at, map_shard, tensor_at
from data.vector_stats import bits_of, widened
from hooks.errors import InputError, unknown

BATCH_SCHEMA = pa.schema([("prompt", pa.int32()), ("position", pa.int32()), ("values", pa.list_(pa.float32()))])
_CHUNK_ELEMENTS = 1 << 19  # values widened at a time, 2 MB: still in the cache when they are read


@dataclass(frozen=True)
class Extent:
    """One site in one shard: a tensor `[n_rows, *shape]` at `byte_offset`."""

    shard: int
    n_rows: int
    shape: tuple[int, ...]
    byte_offset: int
    n_bytes: int
    checksum: str


class Payload:
    """The shards of one capture as the catalogue stood when this was made. Files are mapped when first read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, captures: Path, name: str) -> None:
        found = connection.execute("SELECT dtype FROM captures WHERE name = ?", [name]).fetchone()
        if found is None:
            names = [other for (other,) in connection.execute("SELECT name FROM captures").fetchall()]
            raise unknown("capture", name, names)
        self.name, self.folder, self.dtype = name, captures / name, str(found[0])
        files = "SELECT file, n_bytes FROM shards WHERE capture = ? ORDER BY shard"
        self.files: list[tuple[str, int]] = connection.execute(files, [name]).fetchall()
        self._layouts = _layouts(connection, name)
        self._extents = _extents(connection, name)
        self._pages: dict[int, mmap.mmap] = {}

    @property
    def n_rows(self) -> int:
        """Tokens in all shards."""
        return sum(layout.n_rows for layout in self._layouts)

    @property
    def sites(self) -> list[SiteKey]:
        """(layer or None, site name) of everything stored, in the order of the files."""
        return list(self._extents)

    def extents(self, key: SiteKey) -> list[Extent]:
        """The blocks of one site, a shard each. Raises InputError for a site that is not stored."""
        if not self._extents and self.n_rows:
            raise InputError(f"capture {self.name!r} keeps statistics only: read token_scalars, there are no values")
        if key not in self._extents:
            raise unknown(f"site of capture {self.name!r}", _spoken(key), map(_spoken, self._extents))
        return self._extents[key]

    def tensor(self, key: SiteKey) -> Tensor:
        """All rows of one site: the map itself when one shard holds them, otherwise one new tensor."""
        extents = self.extents(key)
        if len(extents) == 1:
            return self._view(extents[0])
        whole = torch.empty((self.n_rows, *extents[0].shape), dtype=DTYPES[self.dtype])
        start = 0
        for extent in extents:
            whole[start : start + extent.n_rows].copy_(self._view(extent))
            start += extent.n_rows
        return whole

    def batches(self, key: SiteKey) -> Iterator[pa.RecordBatch]:
        """The rows of one site as BATCH_SCHEMA, a chunk at a time: values widened to float32 and flattened."""
        for extent in self.extents(key):
            layout = self._layouts[extent.shard]
            rows = bits_of(self._view(extent))
            width = rows.shape[1]
            step = max(1, _CHUNK_ELEMENTS // width)
            for start in range(0, extent.n_rows, step):
                chunk = slice(start, start + step)
                flat = widened(rows[chunk], DTYPES[self.dtype]).reshape(-1)
                offsets = np.arange(0, len(flat) + 1, width, dtype=np.int32)
                values = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, from_pandas=False))
                arrays = [pa.array(layout.prompt[chunk]), pa.array(layout.position[chunk]), values]
                yield pa.record_batch(arrays, schema=BATCH_SCHEMA)

    def verify(self) -> None:
        """Read every byte. Raises InputError naming the first shard whose checksum does not match."""
        for key, extents in self._extents.items():
            for extent in extents:
                if not self._intact(extent):
                    path = self.folder / self.files[extent.shard][0]
                    raise InputError(f"shard {path} is damaged: wrong checksum of {_spoken(key)}; capture it again")

    def _intact(self, extent: Extent) -> bool:
        pages = self._map(extent.shard)
        return checksum_at(pages, extent.byte_offset, extent.n_bytes, extent.checksum) == extent.checksum

    def _view(self, extent: Extent) -> Tensor:
        return tensor_at(self._map(extent.shard), self.dtype, (extent.n_rows, *extent.shape), extent.byte_offset)

    def _map(self, shard: int) -> mmap.mmap:
        if shard not in self._pages:
            file, n_bytes = self.files[shard]
            self._pages[shard] = map_shard(self.folder / file, n_bytes)
        return self._pages[shard]


def _spoken(key: SiteKey) -> str:
    return key[1] if key[0] is None else f"{key[1]} at layer {key[0]}"


def _layouts(connection: duckdb.DuckDBPyConnection, name: str) -> list[Layout]:
    query = "SELECT shard, prompt, n_tokens FROM prompts WHERE capture = ? ORDER BY shard, row_in_shard"
    lengths: dict[int, list[tuple[int, int]]] = {}
    for shard, prompt, n_tokens in connection.execute(query, [name]).fetchall():
        lengths.setdefault(shard, []).append((prompt, n_tokens))
    layouts = [Layout.of(lengths[shard]) for shard in sorted(lengths)]
    # Ascending positions, all below their number, are 0, 1, 2 …; only selections of tokens need reading.
    elsewhere = (
        "SELECT count(*) FROM tokens JOIN prompts USING (capture, prompt) WHERE capture = ? AND position >= n_tokens"
    )
    if connection.execute(elsewhere, [name]).fetchall()[0][0]:
        query = (
            "SELECT position FROM tokens JOIN prompts USING (capture, prompt) WHERE capture = $name "
            "ORDER BY shard, row_in_shard, position"
        )
        positions = connection.sql(query, params={"name": name}).fetchnumpy()["position"].astype(np.int32)
        ends = np.cumsum([layout.n_rows for layout in layouts])[:-1]
        layouts = [
            Layout(layout.lengths, layout.prompt, own)
            for layout, own in zip(layouts, np.split(positions, ends), strict=True)
        ]
    return layouts


def _extents(connection: duckdb.DuckDBPyConnection, name: str) -> dict[SiteKey, list[Extent]]:
    query = (
        "SELECT layer, site, shard, n_rows, shape, byte_offset, n_bytes, checksum FROM extents "
        "WHERE capture = ? AND n_bytes > 0 ORDER BY shard, byte_offset"
    )
    found: dict[SiteKey, list[Extent]] = {}
    for layer, site, shard, n_rows, shape, *where in connection.execute(query, [name]).fetchall():
        found.setdefault((layer, site), []).append(Extent(shard, n_rows, tuple(shape), *where))
    return found
