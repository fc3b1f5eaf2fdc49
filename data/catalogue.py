"""Catalogue rows of captures: what lies in which shard, and the statistics of every stored vector."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from torch import Tensor

from data.models import save_model, to_json
from data.shards import Written
from data.tables import append
from hooks.errors import InputError

SiteKey = tuple[int | None, str]
Spoken = tuple[int, str, list[int], list[str]]


@dataclass(frozen=True)
class Layout:
    """Which prompt and position every row of a shard belongs to."""

    lengths: tuple[tuple[int, int], ...]
    prompt: np.ndarray
    position: np.ndarray

    @classmethod
    def of(cls, lengths: list[tuple[int, int]]) -> Layout:
        """The layout of whole prompts, (index, tokens) each, one after another."""
        prompt = np.concatenate([np.full(n, index, np.int32) for index, n in lengths])
        position = np.concatenate([np.arange(n, dtype=np.int32) for _, n in lengths])
        return cls(tuple(lengths), prompt, position)

    @property
    def n_rows(self) -> int:
        """Rows of the shard."""
        return len(self.prompt)

    def as_json(self) -> str:
        """[[prompt, tokens], …], kept in the shard so that the file explains itself."""
        return json.dumps(self.lengths)


def open_for_writing(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    model: dict[str, Any],
    plan: dict[str, Any],
    dtype: str,
    created: str,
) -> None:
    """Enter a new capture, or reopen one of the same model and plan. Raises InputError when they differ."""
    key = save_model(connection, model)
    text = to_json(f"the plan of capture {name!r}", plan, canonical=True)
    row = connection.execute("SELECT model, plan FROM captures WHERE name = ?", [name]).fetchone()
    if row is None:
        connection.execute("INSERT INTO captures VALUES (?, ?, ?, ?, false, ?)", [name, key, text, dtype, created])
        return
    for what, old, new in (("model", row[0], key), ("plan", row[1], text)):
        if old != new:
            raise InputError(f"capture {name!r} exists with another {what} ({old} against {new}); use another name")
    connection.execute("UPDATE captures SET complete = false WHERE name = ?", [name])


def prompt_texts(connection: duckdb.DuckDBPyConnection, name: str) -> dict[int, str]:
    """Text of every committed prompt."""
    return dict(connection.execute("SELECT prompt, text FROM prompts WHERE capture = ?", [name]).fetchall())


def shapes(connection: duckdb.DuckDBPyConnection, name: str) -> dict[SiteKey, tuple[int, ...]]:
    """Shape of one row at each site, in the order of the first shard; empty for a new capture."""
    query = "SELECT layer, site, shape FROM extents WHERE capture = ? AND shard = 0 ORDER BY byte_offset"
    return {(layer, site): tuple(shape) for layer, site, shape in connection.execute(query, [name]).fetchall()}


def files(connection: duckdb.DuckDBPyConnection, name: str) -> set[str]:
    """Names of the committed shard files."""
    return {file for (file,) in connection.execute("SELECT file FROM shards WHERE capture = ?", [name]).fetchall()}


def next_shard(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[int, int]:
    """Number of the next shard and of its first row."""
    query = "SELECT count(*), coalesce(sum(n_rows), 0)::BIGINT FROM shards WHERE capture = ?"
    return connection.execute(query, [name]).fetchall()[0]


def extent_row(
    name: str, shard: int, key: SiteKey, dtype: str, shape: tuple[int, ...], layout: Layout, written: Written
) -> tuple[Any, ...]:
    """A row of `extents`."""
    where = (written.byte_offset, written.n_bytes, written.checksum, written.nan_count, written.inf_count)
    return (name, shard, key[0], key[1], dtype, layout.n_rows, list(shape), *where)


def scalar_rows(name: str, key: SiteKey, layout: Layout, tensor: Tensor) -> pa.Table:
    """Rows of `token_scalars` for one block `[rows, …]`, computed from the values as stored."""
    flat = tensor.flatten(1).float()
    largest = flat.abs().max(dim=1)
    n_rows = layout.n_rows
    columns = {
        "capture": _constant(name, n_rows),
        "prompt": pa.array(layout.prompt),
        "position": pa.array(layout.position),
        "layer": pa.array([key[0]] * n_rows, type=pa.int32()),
        "site": _constant(key[1], n_rows),
        "norm": pa.array(flat.norm(dim=1).numpy(), from_pandas=False),
        "max_abs": pa.array(largest.values.numpy(), from_pandas=False),
        "argmax": pa.array(largest.indices.numpy().astype(np.int32)),
    }
    return pa.table(columns)


def insert_shard(connection: duckdb.DuckDBPyConnection, shard: tuple[Any, ...], extents: list[tuple[Any, ...]]) -> None:
    """Enter a shard file and its blocks."""
    connection.execute("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?)", list(shard))
    names = ("capture", "shard", "layer", "site", "dtype", "n_rows", "shape", "byte_offset", "n_bytes", "checksum",
             "nan_count", "inf_count")  # fmt: skip
    append(connection, "extents", pa.table(dict(zip(names, map(list, zip(*extents, strict=True)), strict=True))))


def insert_prompts(
    connection: duckdb.DuckDBPyConnection, name: str, shard: int, layout: Layout, spoken: list[Spoken]
) -> None:
    """Enter the prompts of a shard and their tokens."""
    lengths = np.array([n for _, n in layout.lengths], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    n_prompts = len(spoken)
    prompts = {
        "capture": _constant(name, n_prompts),
        "prompt": pa.array([index for index, _, _, _ in spoken], type=pa.int32()),
        "text": [text for _, text, _, _ in spoken],
        "shard": pa.array([shard] * n_prompts, type=pa.int32()),
        "row_in_shard": pa.array(starts),
        "n_tokens": pa.array(lengths),
    }
    append(connection, "prompts", pa.table(prompts))
    tokens = {
        "capture": _constant(name, layout.n_rows),
        "prompt": pa.array(layout.prompt),
        "position": pa.array(layout.position),
        "token_id": pa.array([token for _, _, ids, _ in spoken for token in ids], type=pa.int32()),
        "token": [text for _, _, _, texts in spoken for text in texts],
    }
    append(connection, "tokens", pa.table(tokens))


def insert_scalars(connection: duckdb.DuckDBPyConnection, scalars: list[pa.Table]) -> None:
    """Enter the statistics of a shard."""
    append(connection, "token_scalars", pa.concat_tables(scalars))


def _constant(value: str, n_rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), n_rows)
