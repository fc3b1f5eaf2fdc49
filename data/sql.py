"""The user's own SQL: one reading statement, no files, no settings, a row limit and a time limit."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from data import activations
from data.connection import Database
from data.failures import first_line
from hooks.errors import InputError

# MULTI is what DuckDB makes of PIVOT; the connection is read-only and locked whatever the statement.
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
_VALID = "one SELECT, WITH, FROM, VALUES, PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"


def query(database: Database, captures: Path, sql: str, limit: int, timeout_s: float) -> pd.DataFrame:
    """The result of one reading statement; `attrs["cut"]` says whether rows beyond `limit` were left out.

    Integers and truth values with NULLs come as nullable types, so that a NULL is never mistaken for NaN. The relation
    `activations` stands beside the tables of the catalogue. Raises InputError for anything else than reading, for SQL
    that is wrong, and after `timeout_s` seconds.
    """
    if limit < 1 or timeout_s <= 0:
        raise InputError(f"limit {limit} and timeout {timeout_s} must be positive")
    check_statement(sql)
    with database.reading() as connection, _explained(timeout_s), _time_limit(connection, timeout_s):
        if re.search(r"\bactivations\b", sql, re.IGNORECASE):
            activations.register(connection, captures)
        result = connection.sql(sql)
        table, cut = _first_rows(result, limit) if result is not None else (pa.table({}), False)
    frame = _to_pandas(table)
    frame.attrs["cut"] = cut
    return frame


def check_statement(sql: str) -> None:
    """Raise InputError unless `sql` is exactly one reading statement."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(f"SQL not understood: {first_line(error)}") from error
    if len(statements) != 1:
        raise InputError(f"{len(statements)} SQL statements given; valid: {_VALID}")
    kind = statements[0].type
    if kind not in _READING:
        raise InputError(f"a {kind.name} statement is not allowed, SQL only reads here; valid: {_VALID}")


@contextmanager
def _explained(timeout_s: float) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise InputError(f"the query was stopped after {timeout_s:g} s; ask for less, or allow more time") from error
    except (duckdb.OutOfMemoryException, duckdb.IOException):
        raise
    except duckdb.PermissionException as error:
        raise InputError(f"SQL cannot reach files or settings here: {first_line(error)}") from error
    except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError) as error:
        raise InputError(f"SQL failed: {first_line(error)}") from error


@contextmanager
def _time_limit(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Interrupt the connection once the time is over."""
    finished = threading.Event()

    def watch() -> None:
        pause = timeout_s
        # Again and again: an interrupt between two steps of a query is forgotten.
        while not finished.wait(pause):
            with suppress(duckdb.Error):
                connection.interrupt()
            pause = 0.05

    watcher = threading.Thread(target=watch, name="sql-time-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _first_rows(result: duckdb.DuckDBPyRelation, limit: int) -> tuple[pa.Table, bool]:
    """Stream until one row more than the limit has been seen."""
    reader = result.to_arrow_reader(min(limit + 1, 8192))
    try:
        batches, rows = [], 0
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if rows > limit:
                break
        return pa.Table.from_batches(batches, reader.schema).slice(0, limit), rows > limit
    finally:
        reader.close()


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    """Columns under distinct names; a second `a` becomes `a_1`."""
    frame = pd.DataFrame(index=pd.RangeIndex(table.num_rows))
    columns: dict[str, pd.Series] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        unique, count = name, 0
        while unique in columns:
            count += 1
            unique = f"{name}_{count}"
        columns[unique] = _series(column)
    return pd.DataFrame(columns, index=frame.index)


def _series(column: pa.ChunkedArray) -> pd.Series:
    kind = column.type
    if pa.types.is_decimal(kind):
        # Sums of whole numbers arrive as DECIMAL(38, 0).
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64() if kind.scale == 0 else pa.float64())
        kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if numeric and column.null_count:
        gone = column.is_null().combine_chunks().to_numpy(zero_copy_only=False)
        filled = column.fill_null(False if pa.types.is_boolean(kind) else 0).combine_chunks()
        return pd.Series(_masked(filled.to_numpy(zero_copy_only=False), gone))
    return column.to_pandas()


def _masked(values: np.ndarray, gone: np.ndarray) -> pd.api.extensions.ExtensionArray:
    arrays = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    return arrays.get(values.dtype.kind, pd.arrays.IntegerArray)(values, gone)
