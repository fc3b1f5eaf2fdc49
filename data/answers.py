"""What SQL answers with, as pandas columns: exact where Python has the type, as DuckDB writes it where it has not."""

from __future__ import annotations

from contextlib import suppress

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

# Everything else (dates with their infinities, times to 24:00, intervals, blobs, maps …) has values without a Python
# counterpart, so DuckDB itself writes it as text.
_EXACT = {"boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
          "ubigint", "float", "double", "decimal", "varchar"}  # fmt: skip
_NESTED = {"list", "array", "struct"}


def readable(result: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The relation with every column that Python cannot hold exactly cast to text; rows and their order stay."""
    exact = [_exact(kind) for kind in result.types]
    if all(exact):
        return result
    return result.project(
        ", ".join(f"#{at}" if kept else f"CAST(#{at} AS VARCHAR)" for at, kept in enumerate(exact, start=1))
    )


def to_pandas(table: pa.Table, names: list[str]) -> pd.DataFrame:
    """Columns under distinct names (a second `a` becomes `a_1`); NULL is pd.NA in numbers and None elsewhere."""
    columns: dict[str, pd.Series] = {}
    for name, column in zip(names, table.columns, strict=True):
        unique, count = name, 0
        while unique in columns:
            count += 1
            unique = f"{name}_{count}"
        columns[unique] = _series(column)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def _exact(kind: DuckDBPyType) -> bool:
    if kind.id in _NESTED:
        return all(_exact(child) for _, child in kind.children if isinstance(child, DuckDBPyType))
    return kind.id in _EXACT


def _series(column: pa.ChunkedArray) -> pd.Series:
    kind = column.type
    if pa.types.is_decimal(kind):
        # Sums of whole numbers arrive as DECIMAL(38, 0).
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64() if kind.scale == 0 else pa.float64())
        kind = column.type
    if _is_number(kind):
        return pd.Series(_masked(column)) if column.null_count else column.to_pandas()
    numbers = (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)) and _is_number(kind.value_type)
    if numbers and not column.null_count and not any(chunk.flatten().null_count for chunk in column.chunks):
        return column.to_pandas()
    return pd.Series(column.to_pylist(), dtype=object)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _masked(column: pa.ChunkedArray) -> pd.api.extensions.ExtensionArray:
    gone = column.is_null().combine_chunks().to_numpy(zero_copy_only=False)
    filled = column.fill_null(False if pa.types.is_boolean(column.type) else 0).combine_chunks()
    values: np.ndarray = filled.to_numpy(zero_copy_only=False)
    arrays = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    return arrays.get(values.dtype.kind, pd.arrays.IntegerArray)(values, gone)
