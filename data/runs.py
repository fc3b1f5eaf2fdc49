"""Content-keyed runs: their provenance, their result frames, and the finished parts of interrupted ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import duckdb
import pandas as pd
import pyarrow as pa

from data.frames import EncodedFrame, decode_frame, encode_frame
from data.models import save_model, to_json
from data.tables import insert, quoted, read, table_name
from hooks.errors import InputError

Status = Literal["done", "failed", "cancelled"]
Frames = list[tuple[str, str, EncodedFrame]]


@dataclass(frozen=True)
class RunRecord:
    """What a run was and how it ended. The dictionaries are plain JSON values; `created` is ISO 8601 in UTC."""

    key: str
    analysis: str
    version: int
    model: dict[str, Any]
    inputs: dict[str, Any]
    spec: dict[str, Any]
    checks: dict[str, Any]
    status: Status
    error: str
    seconds: float
    created: str


def prepare(record: RunRecord, frames: dict[str, pd.DataFrame]) -> Frames:
    """Check a run and encode its frames, before the file is locked: (frame, table, encoded)."""
    if record.status not in get_args(Status):
        raise InputError(f"run status {record.status!r} is not valid: valid: {', '.join(get_args(Status))}")
    for name, value in asdict(record).items():
        to_json(f"{name} of run {record.key}", value)
    return [(name, table_name(record.analysis, name), encode_frame(name, frame)) for name, frame in frames.items()]


def save(connection: duckdb.DuckDBPyConnection, record: RunRecord, frames: Frames) -> None:
    """Write a prepared run in place of any run of that key; the caller holds the transaction."""
    _delete_rows(connection, record.key)
    model = save_model(connection, record.model)
    texts = [to_json(name, getattr(record, name)) for name in ("inputs", "spec", "checks")]
    row = [record.key, record.analysis, record.version, model, *texts, record.status, record.error, record.seconds,
           record.created]  # fmt: skip
    connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for ordinal, (name, table, encoded) in enumerate(frames):
        stored = insert(connection, table, record.key, encoded)
        described = [record.key, name, ordinal, table, stored.n_rows, stored.describe()]
        connection.execute("INSERT INTO run_frames VALUES (?, ?, ?, ?, ?, ?)", described)
    if record.status == "done":
        connection.execute("DELETE FROM run_parts WHERE run = ?", [record.key])


def find(connection: duckdb.DuckDBPyConnection, key: str) -> RunRecord | None:
    """The run of that key, or None."""
    query = (
        "SELECT runs.key, analysis, version, identity, inputs, spec, checks, status, error, seconds, created "
        "FROM runs JOIN models ON models.key = runs.model WHERE runs.key = ?"
    )
    row = connection.execute(query, [key]).fetchone()
    if row is None:
        return None
    model, inputs, spec, checks = (json.loads(text) for text in row[3:7])
    return RunRecord(row[0], row[1], row[2], model, inputs, spec, checks, *row[7:])


def load_frames(connection: duckdb.DuckDBPyConnection, key: str) -> dict[str, pd.DataFrame]:
    """Every frame of a run, in the order of saving. Raises InputError for an unknown key."""
    _require(connection, key)
    query = "SELECT frame, table_name, n_rows, columns FROM run_frames WHERE run = ? ORDER BY ordinal"
    frames = {}
    for name, table, n_rows, columns in connection.execute(query, [key]).fetchall():
        stored = [column["stored"] for column in json.loads(columns)]
        frames[name] = decode_frame(columns, read(connection, table, key, stored), n_rows)
    return frames


def listing(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """All runs, newest first."""
    query = (
        "SELECT runs.key, analysis, version, models.name AS model, status, error, seconds, created, inputs, spec "
        "FROM runs JOIN models ON models.key = runs.model ORDER BY created DESC, runs.key"
    )
    return connection.sql(query).to_arrow_table().to_pandas()


def delete(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Remove a run with its rows and parts. Raises InputError for an unknown key."""
    _require(connection, key)
    _delete_rows(connection, key)
    connection.execute("DELETE FROM run_parts WHERE run = ?", [key])


def encode_part(part: str, frame: pd.DataFrame) -> tuple[str, bytes]:
    """Column description and Arrow IPC stream of a part."""
    encoded = encode_frame(part, frame)
    # The nameless first column only counts rows, for frames without columns; no column of a frame is nameless.
    table = encoded.table(**{"": pa.array(range(encoded.n_rows), type=pa.int64())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return encoded.describe(), sink.getvalue().to_pybytes()


def save_part(connection: duckdb.DuckDBPyConnection, key: str, part: str, encoded: tuple[str, bytes]) -> None:
    """Keep a part in place of any of that name."""
    connection.execute("INSERT OR REPLACE INTO run_parts VALUES (?, ?, ?, ?)", [key, part, *encoded])


def load_part(connection: duckdb.DuckDBPyConnection, key: str, part: str) -> pd.DataFrame | None:
    """A part as it was saved, or None."""
    query = "SELECT columns, payload FROM run_parts WHERE run = ? AND part = ?"
    row = connection.execute(query, [key, part]).fetchone()
    if row is None:
        return None
    table = pa.ipc.open_stream(row[1]).read_all()
    return decode_frame(row[0], table, table.num_rows)


def _require(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    if connection.execute("SELECT 1 FROM runs WHERE key = ?", [key]).fetchone() is None:
        raise InputError(f"no run {key!r} in this workspace; list_runs() names those there are")


def _delete_rows(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    query = "SELECT DISTINCT table_name FROM run_frames WHERE run = ?"
    for (table,) in connection.execute(query, [key]).fetchall():
        connection.execute(f"DELETE FROM {quoted(table)} WHERE run = ?", [key])  # noqa: S608 quoted
    connection.execute("DELETE FROM run_frames WHERE run = ?", [key])
    connection.execute("DELETE FROM runs WHERE key = ?", [key])
