"""The user's own SQL: one reading statement, no files, no settings, a row limit and a time limit."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from data import activations
from data.answers import readable, to_pandas
from data.connection import Database
from data.failures import first_line
from hooks.errors import InputError

# MULTI is what DuckDB makes of PIVOT; the connection is read-only and locked whatever the statement.
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
_VALID = "one SELECT, WITH, FROM, VALUES, PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"
_TOO_LONG = "the query was stopped after {:g} s; ask for less, or allow more time"


def query(database: Database, captures: Path, sql: str, limit: int, timeout_s: float) -> pd.DataFrame:
    """The result of one reading statement; `attrs["cut"]` says whether rows beyond `limit` were left out.

    Numbers and truth values with NULLs come as nullable types and text as objects with None, so that a NULL is never
    mistaken for NaN. What Python has no exact type for (dates, intervals, blobs, maps) comes as the text that DuckDB
    writes. The relation `activations` stands beside the tables of the catalogue. Raises InputError for anything else
    than reading, for SQL that is wrong or needs more than the memory limit, and after `timeout_s` seconds.
    """
    if limit < 1 or timeout_s <= 0:
        raise InputError(f"limit {limit} and timeout {timeout_s} must be positive")
    check_statement(sql)
    with database.reading() as connection, _explained(timeout_s), _time_limit(connection, timeout_s):
        if re.search(r"\bactivations\b", sql, re.IGNORECASE):
            activations.register(connection, captures)
        result = connection.sql(sql)
        names = [] if result is None else result.columns
        table, cut = (pa.table({}), False) if result is None else _first_rows(readable(result), limit)
    frame = to_pandas(table, names)
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
    try:
        kind = statements[0].type
    except ValueError:
        # DuckDB knows statements that its Python types have no name for.
        kind = None
    if kind not in _READING:
        raise InputError(f"{_called(sql, kind)} is not allowed, SQL only reads here; valid: {_VALID}")


def _called(sql: str, kind: duckdb.StatementType | None) -> str:
    """A statement's name as the user wrote it: DuckDB files CHECKPOINT under CALL and INSTALL under LOAD."""
    words = re.findall(r"[A-Za-z]+", re.sub(r"/\*.*?\*/|--[^\n]*", " ", sql, flags=re.DOTALL))
    first = next((word.upper() for word in words if word.upper() != "FORCE"), "")
    return kind.name if kind is not None and first in ("", "WITH", "FROM", "EXPLAIN") else first


@contextmanager
def _explained(timeout_s: float) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise InputError(_TOO_LONG.format(timeout_s)) from error
    except duckdb.OutOfMemoryException as error:
        raise _too_large(error) from error
    except duckdb.IOException:
        raise
    except duckdb.PermissionException as error:
        raise InputError(f"SQL cannot reach files or settings here: {first_line(error)}") from error
    except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError) as error:
        raise InputError(f"SQL failed: {first_line(error)}") from error
    except OSError as error:
        # What fails in the middle of a stream comes through Arrow, which keeps the words and drops the kind.
        said = first_line(error)
        if error.errno is not None or not re.match(r"[A-Za-z-]+( [A-Za-z-]+)* Error: ", said):
            raise
        if said.startswith("INTERRUPT"):
            raise InputError(_TOO_LONG.format(timeout_s)) from error
        if said.startswith("Out of Memory"):
            raise _too_large(error) from error
        raise InputError(f"SQL failed: {said}") from error


def _too_large(error: Exception) -> InputError:
    return InputError(
        f"the query needs more than the memory limit allows, and nothing asked here is written to disk "
        f"({first_line(error)}); sort or group fewer rows, or add a WHERE"
    )


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
