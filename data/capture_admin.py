"""Captures as a whole: listing and deleting them, and the export that any DuckDB opens by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from data.capture_reader import CaptureReader
from data.catalogue import SiteKey
from data.failures import translated
from data.store import Store
from data.tables import quoted
from data.workspace import exclusive
from hooks.errors import InputError, unknown

_LONGEST_ARRAY = 100_000  # DuckDB's limit
_TABLES = (
    "attention_top", "attention_scalars", "token_scalars", "generated_tokens", "tokens", "prompts", "extents", "shards",
)  # fmt: skip

_LISTING = """
SELECT c.name AS capture, m.name AS model, c.dtype, c.plan, complete, created, coalesce(s.n_rows, 0) AS "rows",
       coalesce(p.n, 0) AS prompts, coalesce(s.n_bytes, 0) AS "bytes", coalesce(e.sites, 0) AS sites,
       coalesce(e.nonfinite, 0) AS nonfinite
FROM (SELECT name, model, dtype, plan, complete, created FROM captures) c
LEFT JOIN (SELECT key, name FROM models) m ON m.key = c.model
LEFT JOIN (SELECT capture, sum(n_rows)::BIGINT AS n_rows, sum(n_bytes)::BIGINT AS n_bytes FROM shards GROUP BY ALL) s
       ON s.capture = c.name
LEFT JOIN (SELECT capture, count(*) AS n FROM prompts GROUP BY ALL) p ON p.capture = c.name
LEFT JOIN (SELECT capture, count(DISTINCT (layer, site)) AS sites, sum(nan_count + inf_count)::BIGINT AS nonfinite
           FROM extents GROUP BY ALL) e ON e.capture = c.name
ORDER BY created, c.name
"""


def list_captures(store: Store) -> pd.DataFrame:
    """capture, model, dtype, plan (JSON), complete, created, rows, prompts, bytes, sites, nonfinite; oldest first."""
    with store.database.reading() as connection:
        return connection.sql(_LISTING).to_arrow_table().to_pandas()


def nonfinite_in(store: Store, name: str) -> int:
    """How many NaN and infinities a capture holds, whenever they were written."""
    query = "SELECT coalesce(sum(nan_count + inf_count), 0)::BIGINT FROM extents WHERE capture = ?"
    with store.database.reading() as connection:
        return int(connection.execute(query, [name]).fetchall()[0][0])


def delete_capture(store: Store, name: str) -> None:
    """Remove a capture, its rows first. Raises InputError for an unknown name and while somebody writes it."""
    with store.database.reading() as connection:
        names = [other for (other,) in connection.execute("SELECT name FROM captures").fetchall()]
    if name not in names:
        raise unknown("capture", name, names)
    folder = store.captures / name
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", block=False, busy=f"capture {name!r} is being written; stop that first"):
        with store.database.writing() as connection:
            tables = {table for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            for table in _TABLES:
                if table in tables:
                    connection.execute(f"DELETE FROM {table} WHERE capture = ?", [name])  # noqa: S608 our own names
            connection.execute("DELETE FROM captures WHERE name = ?", [name])
        shutil.rmtree(folder)


def export_duckdb(reader: CaptureReader, path: Path) -> Path:
    """Write one file that plain DuckDB opens without ours: what `catalogue_tables` gives, and the activations.

    `activations` has layer, site, prompt, position and `values` as FLOAT[d]; with sites of several widths it is one
    table a width, `activations_576` and so on. The file appears when it is whole.

    Raises:
        InputError: a vector too long for DuckDB's arrays, a full disk.
    """
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with translated(path), duckdb.connect(str(partial), config={"memory_limit": "2GB"}) as connection:
            for table, rows in reader.catalogue_tables().items():
                _create(connection, table, rows)
            widths = {key: reader.width(key) for key in reader.sites}
            for key, width in widths.items():
                table = "activations" if len(set(widths.values())) == 1 else f"activations_{width}"
                _append_vectors(connection, table, reader, key, width)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _create(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    connection.register("incoming_rows", rows)
    connection.execute(f"CREATE TABLE {quoted(table)} AS SELECT * FROM incoming_rows")  # noqa: S608 quoted
    connection.unregister("incoming_rows")


def _append_vectors(
    connection: duckdb.DuckDBPyConnection, table: str, reader: CaptureReader, key: SiteKey, width: int
) -> None:
    if width > _LONGEST_ARRAY:
        raise InputError(f"{key} has {width} numbers a token and DuckDB's arrays end at {_LONGEST_ARRAY}; use Parquet")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {quoted(table)} (layer INTEGER, site VARCHAR NOT NULL, prompt INTEGER NOT NULL, "
        f'position INTEGER NOT NULL, "values" FLOAT[{width}] NOT NULL)'
    )
    schema = pa.schema([("prompt", pa.int32()), ("position", pa.int32()), ("values", pa.list_(pa.float32(), width))])

    def fixed() -> Iterator[pa.RecordBatch]:
        for batch in reader.batches(key):
            values = pa.FixedSizeListArray.from_arrays(batch["values"].flatten(), width)
            yield pa.record_batch([batch["prompt"], batch["position"], values], schema=schema)

    connection.register("incoming_rows", pa.RecordBatchReader.from_batches(schema, fixed()))
    insert = f"INSERT INTO {quoted(table)} SELECT ?, ?, prompt, position, values FROM incoming_rows"  # noqa: S608
    connection.execute(insert, [key[0], key[1]])
    connection.unregister("incoming_rows")
