"""Reading a capture: tensors over the memory map, its tokens as a frame aligned with their rows, exports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from data.catalogue import SiteKey
from data.failures import translated
from data.payload import Payload
from data.store import Store
from hooks.errors import InputError

_OPTIONAL = {"attention_scalars", "attention_top", "generated_tokens"}
_PARQUET_SCHEMA = pa.schema(
    [("capture", pa.string()), ("layer", pa.int32()), ("site", pa.string()), ("prompt", pa.int32()),
     ("position", pa.int32()), ("token_id", pa.int32()), ("token", pa.string()), ("values", pa.list_(pa.float32()))]
)  # fmt: skip


class CaptureReader:
    """One capture as it was when opened; what is committed later is not seen. Rows are tokens, in the order of commits.

    `model` and `plan` are as the writer was given them, `complete` is False for a capture that was interrupted.
    """

    def __init__(self, store: Store, name: str) -> None:
        query = "SELECT identity, plan, complete FROM captures JOIN models ON key = model WHERE captures.name = ?"
        with store.database.reading() as connection:
            self._payload = Payload(connection, store.captures, name)
            identity, plan, complete = connection.execute(query, [name]).fetchall()[0]
        self._store, self.name = store, name
        self.model: dict[str, Any] = json.loads(identity)
        self.plan: dict[str, Any] = json.loads(plan)
        self.complete: bool = complete

    @property
    def n_rows(self) -> int:
        """Tokens in the capture."""
        return self._payload.n_rows

    @property
    def dtype(self) -> str:
        """The stored type: float32, float16 or bfloat16."""
        return self._payload.dtype

    @property
    def sites(self) -> list[SiteKey]:
        """(layer or None, site name) of everything stored."""
        return self._payload.sites

    def identity(self) -> dict[str, str]:
        """Name, kind and revision (a digest of the model, the plan and every block's checksum), for keys."""
        blocks = [one.checksum for key in self._payload.sites for one in self._payload.extents(key)]
        told = json.dumps([self.model, self.plan, self.n_rows, blocks], sort_keys=True)
        return {"name": self.name, "kind": "capture", "revision": hashlib.sha256(told.encode()).hexdigest()[:16]}

    def layer(self, site_name: str, layer: int | None) -> Tensor:
        """All rows at one site, `[rows, d]` (or `[rows, head, d_head]`), in the stored dtype.

        Over one shard this is the memory map itself, copied on write: changing the tensor never changes the capture.
        Over several shards it is one new tensor. Raises InputError for a site that is not stored.
        """
        return self._payload.tensor((layer, site_name))

    def tokens(self) -> pd.DataFrame:
        """One row a token, aligned with the rows of `layer`: prompt, position, token_id, token."""
        query = (
            "SELECT prompt, position, token_id, token FROM tokens JOIN prompts USING (capture, prompt) "
            "WHERE capture = $name AND shard < $shards ORDER BY shard, row_in_shard, position"
        )
        given = {"name": self.name, "shards": len(self._payload.files)}
        with self._store.database.reading() as connection:
            return connection.sql(query, params=given).to_arrow_table().to_pandas()

    def batches(self, key: SiteKey) -> Iterator[pa.RecordBatch]:
        """The rows of one site as Arrow: prompt, position, values widened to float32 and flattened."""
        return self._payload.batches(key)

    def width(self, key: SiteKey) -> int:
        """How many numbers a row of one site has."""
        return prod(self._payload.extents(key)[0].shape)

    def catalogue_tables(self) -> dict[str, pa.Table]:
        """capture, prompts, tokens, token_scalars, extents and, where there are any, generated tokens and attention."""
        queries = {
            "capture": "SELECT captures.name, identity AS model, plan, captures.dtype, complete, created FROM captures "
            "JOIN models ON key = model WHERE captures.name = $name",
            "prompts": "SELECT prompt, text, n_tokens FROM prompts WHERE capture = $name ORDER BY shard, row_in_shard",
            "tokens": "SELECT prompt, position, token_id, token FROM tokens WHERE capture = $name ORDER BY ALL",
            "token_scalars": "SELECT * EXCLUDE (capture) FROM token_scalars WHERE capture = $name",
            "extents": "SELECT layer, site, dtype, shape, sum(n_rows)::BIGINT AS n_rows, sum(nan_count)::BIGINT AS "
            "nan_count, sum(inf_count)::BIGINT AS inf_count FROM extents WHERE capture = $name GROUP BY ALL "
            "ORDER BY ALL",
        }
        given, whole = {"name": self.name}, set(queries)
        with self._store.database.reading() as connection:
            there = {table for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            for table in _OPTIONAL & there:
                queries[table] = f"SELECT * EXCLUDE (capture) FROM {table} WHERE capture = $name"  # noqa: S608 our own
            found = {table: connection.sql(sql, params=given).to_arrow_table() for table, sql in queries.items()}
        return {table: rows for table, rows in found.items() if rows.num_rows or table in whole}

    def verify(self) -> None:
        """Read every byte. Raises InputError naming the first shard whose checksum does not match."""
        self._payload.verify()

    def export_parquet(self, path: Path) -> Path:
        """Write capture, layer, site, prompt, position, token_id, token, values (float32 list), a row a vector.

        The file appears when it is whole. Raises InputError when the disk is full.
        """
        if not self.sites:
            raise InputError(f"capture {self.name!r} holds no values to export; a .duckdb file takes its statistics")
        partial = path.with_name(path.name + ".partial")
        tokens = self.tokens()
        try:
            with translated(path), pq.ParquetWriter(partial, _PARQUET_SCHEMA) as writer:
                for key in self.sites:
                    start = 0
                    for batch in self._payload.batches(key):
                        writer.write_table(self._labelled(key, batch, tokens.iloc[start : start + batch.num_rows]))
                        start += batch.num_rows
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _labelled(self, key: SiteKey, batch: pa.RecordBatch, tokens: pd.DataFrame) -> pa.Table:
        n_rows = batch.num_rows
        layer = pa.array([key[0]] * n_rows, type=pa.int32())
        labels = [pa.repeat(pa.scalar(self.name), n_rows), layer, pa.repeat(pa.scalar(key[1]), n_rows)]
        words = [pa.array(tokens["token_id"].to_numpy()), pa.array(tokens["token"].tolist(), type=pa.string())]
        return pa.table([*labels, batch["prompt"], batch["position"], *words, batch["values"]], schema=_PARQUET_SCHEMA)


def open_capture(store: Store, name: str) -> CaptureReader:
    """A reader of a stored capture. Raises InputError for an unknown name, offering the nearest."""
    return CaptureReader(store, name)
