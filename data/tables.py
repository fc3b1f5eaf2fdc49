"""Result tables: one per (analysis, frame), growing as later versions bring other columns, and never losing a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from data.frames import EncodedFrame
from hooks.errors import InputError

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_RESERVED = ("run", "row")
_EXACT_IN_DOUBLE = 2**53  # every whole number up to here is a DOUBLE


def table_name(analysis: str, frame: str) -> str:
    """`{analysis}__{frame}`. Raises InputError for names that would not read naturally in SQL."""
    for kind, name in (("analysis", analysis), ("frame", frame)):
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{kind} name {name!r} cannot name a table; valid: lower-case words joined by one underscore"
            )
    return f"{analysis}__{frame}"


def quoted(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def insert(connection: duckdb.DuckDBPyConnection, table: str, run: str, encoded: EncodedFrame) -> EncodedFrame:
    """Append the rows of a frame, making or growing the table; returns the frame as it was stored."""
    existing = _existing(connection, table)
    if not existing:
        connection.execute(f"CREATE TABLE {quoted(table)} (run VARCHAR NOT NULL, row BIGINT NOT NULL)")
        existing = {"run": "VARCHAR", "row": "BIGINT"}
    names, kinds = _place(connection, table, existing, encoded)
    stored = encoded.stored_as(names, kinds)
    owner = pa.array([run] * encoded.n_rows, type=pa.string())
    append(connection, table, stored.table(run=owner, row=pa.array(range(encoded.n_rows), type=pa.int64())))
    return stored


def append(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Insert an Arrow table into a table, matching columns by name."""
    connection.register("incoming_rows", rows)
    try:
        connection.execute(f"INSERT INTO {quoted(table)} BY NAME SELECT * FROM incoming_rows")  # noqa: S608 quoted
    finally:
        connection.unregister("incoming_rows")


def read(connection: duckdb.DuckDBPyConnection, table: str, run: str, stored: list[str]) -> pa.Table:
    """The stored columns of one run's rows, in the order of the frame."""
    columns = ", ".join(quoted(name) for name in ("row", *stored))
    # A relation, because results of execute() are copied once more on their way to Arrow.
    query = f"SELECT {columns} FROM {quoted(table)} WHERE run = $run ORDER BY row"  # noqa: S608 quoted
    return connection.sql(query, params={"run": run}).to_arrow_table()


def _existing(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Column types of a table by name; empty when there is no such table."""
    query = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = 'main'"
    return dict(connection.execute(query, [table]).fetchall())


def _place(
    connection: duckdb.DuckDBPyConnection, table: str, existing: dict[str, str], encoded: EncodedFrame
) -> tuple[list[str], list[str]]:
    """A column of the table for each column of the frame: its own, a widened one, or one named after the type."""
    # SQL ignores case, pandas does not.
    known = {name.casefold(): (name, kind) for name, kind in existing.items()}
    taken = {name.casefold() for name in _RESERVED}
    names, kinds = [], []
    for column, array in zip(encoded.columns, encoded.arrays, strict=True):
        for name in _candidates(column.name, column.sql):
            folded, kind = name.casefold(), column.sql
            if folded in taken:
                continue
            if folded not in known:
                connection.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name)} {kind}")
                known[folded] = (name, kind)
                break
            present, present_kind = known[folded]
            joint = _joint(connection, table, present, present_kind, kind, array)
            if joint is None:
                continue
            if joint != present_kind:
                connection.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(present)} TYPE {joint}")
                known[folded] = (present, joint)
            break
        taken.add(folded)
        names.append(known[folded][0])
        kinds.append(known[folded][1])
    return names, kinds


def _candidates(name: str, kind: str) -> Iterator[str]:
    """Names to try for a column: `rank`, `rank__double`, `rank__double_2` …"""
    yield name
    yield f"{name}__{kind.lower()}"
    for number in count(2):
        yield f"{name}__{kind.lower()}_{number}"


def _joint(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, present: str, new: str, array: pa.Array
) -> str | None:
    """A type that holds what is in the column and what comes, exactly; None when they need two columns."""
    if present == new:
        return present
    whole = {"BIGINT", "UBIGINT"}
    if present == "DOUBLE" and new in whole:
        bounds = pc.min_max(array).as_py()
        return "DOUBLE" if _exact(bounds["min"]) and _exact(bounds["max"]) else None
    if present in whole and new == "DOUBLE":
        query = f"SELECT min({quoted(column)}), max({quoted(column)}) FROM {quoted(table)}"  # noqa: S608 quoted
        low, high = connection.execute(query).fetchone() or (None, None)
        return "DOUBLE" if _exact(low) and _exact(high) else None
    return None


def _exact(value: int | None) -> bool:
    return value is None or abs(value) <= _EXACT_IN_DOUBLE
