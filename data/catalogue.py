"""The catalogue of captures: opening one for writing, and what is committed of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from data.models import save_model, to_json
from hooks.errors import InputError

SiteKey = tuple[int | None, str]


@dataclass(frozen=True)
class Spoken:
    """A prompt as the catalogue knows it; the lists are of the tokens kept, `steps` 0 where none was generated."""

    prompt: int
    text: str
    token_ids: list[int]
    tokens: list[str]
    positions: list[int]
    steps: list[int]


@dataclass(frozen=True)
class Layout:
    """Which prompt and position every row of a shard belongs to."""

    lengths: tuple[tuple[int, int], ...]
    prompt: np.ndarray
    position: np.ndarray

    @classmethod
    def of(cls, lengths: list[tuple[int, int]], positions: list[int] | None = None) -> Layout:
        """The layout of prompts, (index, tokens) each, one after another; `positions` of all rows unless 0, 1, 2 …"""
        rows = np.array([n for _, n in lengths], np.int64)
        prompt = np.repeat(np.array([index for index, _ in lengths], np.int32), rows)
        if positions is not None:
            return cls(tuple(lengths), prompt, np.array(positions, np.int32))
        position = np.arange(len(prompt)) - np.repeat(np.cumsum(rows) - rows, rows)
        return cls(tuple(lengths), prompt, position.astype(np.int32))

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
    # Workspaces made before these were in schema.sql get them here.
    connection.execute("ALTER TABLE token_scalars ADD COLUMN IF NOT EXISTS mean FLOAT")
    schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    for table in re.findall(r"CREATE TABLE IF NOT EXISTS [^;]*;", schema):
        connection.execute(table)
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
    query = "SELECT layer, site, shape FROM extents WHERE capture = ? AND shard = 0 ORDER BY byte_offset, rowid"
    return {(layer, site): tuple(shape) for layer, site, shape in connection.execute(query, [name]).fetchall()}


def files(connection: duckdb.DuckDBPyConnection, name: str) -> set[str]:
    """Names of the committed shard files."""
    return {file for (file,) in connection.execute("SELECT file FROM shards WHERE capture = ?", [name]).fetchall()}


def next_shard(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[int, int]:
    """Number of the next shard and of its first row."""
    query = "SELECT count(*), coalesce(sum(n_rows), 0)::BIGINT FROM shards WHERE capture = ?"
    return connection.execute(query, [name]).fetchall()[0]
