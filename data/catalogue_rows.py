"""Catalogue rows of captures: what lies in which shard, and the statistics of every stored vector."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from data.catalogue import Layout, SiteKey, Spoken
from data.shards import Written
from data.tables import append
from data.vector_stats import VectorStats


@dataclass(frozen=True)
class ShardRows:
    """What the catalogue says of one shard: rows of `shards` and `extents`, prompts, statistics of every vector.

    `attention` has the rows of the attention tables by table, and none of those that were not asked for.
    """

    shard: int
    file: str
    n_bytes: int
    first_row: int
    layout: Layout
    dtype: str
    extents: list[tuple[SiteKey, tuple[int, ...], Written, int, int]]
    spoken: list[Spoken]
    scalars: pa.Table
    attention: dict[str, pa.Table]


def scalar_rows(name: str, layout: Layout, stats: dict[SiteKey, list[VectorStats]]) -> pa.Table:
    """Rows of `token_scalars` for all sites of a shard; the pieces of each site follow one another as the rows do."""
    keys, n_rows = list(stats), layout.n_rows
    sites = sorted({site for _, site in keys})

    def column(of: str) -> pa.Array:
        return pa.array(np.concatenate([getattr(s, of) for key in keys for s in stats[key]]), from_pandas=False)

    codes = np.repeat(np.array([sites.index(site) for _, site in keys], np.int32), n_rows)
    layers = np.repeat(np.array([-1 if layer is None else layer for layer, _ in keys], np.int32), n_rows)
    columns = {
        "capture": constant(name, n_rows * len(keys)),
        "prompt": pa.array(np.tile(layout.prompt, len(keys))),
        "position": pa.array(np.tile(layout.position, len(keys))),
        "layer": pa.array(layers, mask=layers < 0),
        "site": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(sites)),
    }
    return pa.table(columns | {of: column(of) for of in ("norm", "max_abs", "argmax", "mean")})


def insert_shards(connection: duckdb.DuckDBPyConnection, name: str, shards: list[ShardRows]) -> None:
    """Enter shard files with their blocks, prompts, tokens and statistics."""
    for rows in shards:
        shard_row = [name, rows.shard, rows.file, rows.n_bytes, rows.first_row, rows.layout.n_rows]
        connection.execute("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?)", shard_row)
    append(connection, "extents", pa.concat_tables([_extents(name, rows) for rows in shards]))
    append(connection, "prompts", pa.concat_tables([_prompts(name, rows) for rows in shards]))
    append(connection, "tokens", pa.concat_tables([_tokens(name, rows) for rows in shards]))
    append(connection, "token_scalars", pa.concat_tables([rows.scalars for rows in shards]).unify_dictionaries())
    for table in dict.fromkeys(table for rows in shards for table in rows.attention):
        parts = [rows.attention[table] for rows in shards if table in rows.attention]
        append(connection, table, pa.concat_tables(parts).unify_dictionaries())
    generated = pa.concat_tables([_generated(name, rows) for rows in shards])
    if generated.num_rows:
        append(connection, "generated_tokens", generated)


def _extents(name: str, rows: ShardRows) -> pa.Table:
    names = ("capture", "shard", "layer", "site", "dtype", "n_rows", "shape", "byte_offset", "n_bytes", "checksum",
             "nan_count", "inf_count")  # fmt: skip
    found = [
        (name, rows.shard, *key, rows.dtype, rows.layout.n_rows, list(shape),
         written.byte_offset, written.n_bytes, written.checksum, nan, inf)
        for key, shape, written, nan, inf in rows.extents
    ]  # fmt: skip
    table = pa.table(dict(zip(names, map(list, zip(*found, strict=True)), strict=True)))
    return table.set_column(2, "layer", table["layer"].cast(pa.int32()))


def _prompts(name: str, rows: ShardRows) -> pa.Table:
    lengths = np.array([n for _, n in rows.layout.lengths], np.int32)
    n_prompts = len(rows.spoken)
    return pa.table({
        "capture": constant(name, n_prompts),
        "prompt": pa.array([one.prompt for one in rows.spoken], type=pa.int32()),
        "text": pa.array([one.text for one in rows.spoken], type=pa.string()),
        "shard": pa.array([rows.shard] * n_prompts, type=pa.int32()),
        "row_in_shard": pa.array((np.cumsum(lengths) - lengths).astype(np.int64)),
        "n_tokens": pa.array(lengths),
    })  # fmt: skip


def _tokens(name: str, rows: ShardRows) -> pa.Table:
    return pa.table({
        "capture": constant(name, rows.layout.n_rows),
        "prompt": pa.array(rows.layout.prompt),
        "position": pa.array(rows.layout.position),
        "token_id": pa.array([token for one in rows.spoken for token in one.token_ids], type=pa.int32()),
        "token": pa.array([text for one in rows.spoken for text in one.tokens], type=pa.string()),
    })  # fmt: skip


def _generated(name: str, rows: ShardRows) -> pa.Table:
    steps = np.array([step for one in rows.spoken for step in one.steps], np.int32)
    new = steps > 0
    return pa.table({
        "capture": constant(name, int(new.sum())),
        "prompt": pa.array(rows.layout.prompt[new]),
        "position": pa.array(rows.layout.position[new]),
        "step": pa.array(steps[new]),
    })  # fmt: skip


def constant(value: str, n_rows: int) -> pa.DictionaryArray:
    """A column with one word in every row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array([value]))
