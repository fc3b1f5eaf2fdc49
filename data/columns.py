"""One pandas column as an Arrow array with a SQL type and a description of the pandas type, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hooks.errors import InputError

Encoded = tuple[pa.Array, str, dict[str, Any]]

_ARROW = {"BOOLEAN": pa.bool_(), "BIGINT": pa.int64(), "UBIGINT": pa.uint64(), "DOUBLE": pa.float64(),
          "VARCHAR": pa.large_string()}  # fmt: skip
_PLAIN_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}
_MISSING: dict[str, Any] = {"none": None, "nan": float("nan"), "na": pd.NA}
_MASKED = {"boolean", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"}
_VALID = "bool, int, uint, float, their nullable forms, str, category, or object holding one of text, int, float, bool"


def encode(where: str, series: pd.Series) -> Encoded:
    """Array, SQL type and pandas type of a column; `where` names it in the InputError for a type that is not kept."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _encode_category(where, series.array, dtype)
    if isinstance(dtype, pd.StringDtype):
        described = {"kind": "string", "storage": dtype.storage, "missing": "na" if dtype.na_value is pd.NA else "nan"}
        values = [None if gone else text for text, gone in zip(series, series.isna(), strict=True)]
        return _array(where, values, "VARCHAR"), "VARCHAR", described
    if dtype.name in _MASKED:
        numbers = series.array
        sql = _sql_of(np.dtype(dtype.name.lower() if dtype.name != "boolean" else "bool"))
        return pa.array(numbers).cast(_ARROW[sql]), sql, {"kind": "masked", "dtype": dtype.name}
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8:
        sql = _sql_of(dtype)
        wide = series.to_numpy().astype(_ARROW[sql].to_pandas_dtype())
        # from_pandas=False, or every NaN would become a NULL.
        return pa.array(wide, from_pandas=False), sql, {"kind": "numpy", "dtype": dtype.str}
    if dtype == np.dtype(object):
        return _encode_objects(where, list(series))
    raise InputError(f"{where} has type {dtype}, which is not stored; valid: {_VALID}")


def decode(column: pa.ChunkedArray, described: dict[str, Any]) -> Any:
    """The values that `encode` was given, in their pandas type. The column's SQL type may have been widened since."""
    match described["kind"]:
        case "numpy":
            return _numbers(column).astype(np.dtype(described["dtype"]))
        case "masked":
            return _decode_masked(column, described["dtype"])
        case "string":
            dtype = pd.StringDtype(described["storage"], na_value=_MISSING[described["missing"]])
            return pd.array(column.to_pylist(), dtype=dtype)
        case "category":
            return _decode_category(column, described)
        case _:
            return _decode_objects(column, described)


def _sql_of(dtype: np.dtype) -> str:
    unsigned = "UBIGINT" if dtype.itemsize == 8 else "BIGINT"
    return {"b": "BOOLEAN", "f": "DOUBLE", "i": "BIGINT", "u": unsigned}[dtype.kind]


def _array(where: str, values: Sequence[Any], sql: str) -> pa.Array:
    try:
        return pa.array(values, type=_ARROW[sql], from_pandas=False)
    except (UnicodeEncodeError, OverflowError, pa.ArrowInvalid) as error:
        raise InputError(f"{where} holds a value that cannot be stored as {sql}: {error}") from error


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column without NULLs as NumPy, NaN kept."""
    return column.combine_chunks().to_numpy(zero_copy_only=False)


def _decode_masked(column: pa.ChunkedArray, name: str) -> Any:
    gone = column.is_null().combine_chunks().to_numpy(zero_copy_only=False)
    target = np.dtype("bool") if name == "boolean" else np.dtype(name.lower())
    filled = column.fill_null(False if pa.types.is_boolean(column.type) else 1)
    values = _numbers(filled).astype(target)
    if name == "boolean":
        return pd.arrays.BooleanArray(values, gone)
    return (pd.arrays.FloatingArray if target.kind == "f" else pd.arrays.IntegerArray)(values, gone)


def _encode_objects(where: str, values: list[Any]) -> Encoded:
    """Text, whole numbers, floats or truth values as Python objects, with one kind of missing value."""
    gone = {_missing_kind(value) for value in values} - {""}
    types = {type(value) for value in values if not _missing_kind(value)}
    if "nan" in gone and types <= {float}:
        types, gone = {float}, gone - {"nan"}  # among floats NaN is a value, not an absence
    if len(types) > 1 or not types <= set(_PLAIN_TYPES) or len(gone) > 1:
        found = sorted({type(value).__name__ for value in values})
        raise InputError(f"{where} holds objects of types {', '.join(found)}; valid: {_VALID}")
    plain = next(iter(types), str)
    kept = [None if _missing_kind(value) and not (plain is float and _is_nan(value)) else value for value in values]
    described = {"kind": "object", "type": plain.__name__, "missing": next(iter(gone), "none")}
    return _array(where, kept, _PLAIN_TYPES[plain]), _PLAIN_TYPES[plain], described


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _missing_kind(value: Any) -> str:
    return "none" if value is None else "na" if value is pd.NA else "nan" if _is_nan(value) else ""


def _decode_objects(column: pa.ChunkedArray, described: dict[str, Any]) -> pd.Series:
    plain = {kind.__name__: kind for kind in _PLAIN_TYPES}[described["type"]]
    missing = _MISSING[described["missing"]]
    # A Series of stated type: from a bare object array pandas would infer its own text type.
    return pd.Series([missing if value is None else plain(value) for value in column.to_pylist()], dtype=object)


def _encode_category(where: str, values: Any, dtype: pd.CategoricalDtype) -> Encoded:
    categories = dtype.categories.tolist()
    types = {type(category) for category in categories}
    if len(types) > 1 or not types <= set(_PLAIN_TYPES):
        found = ", ".join(sorted(kind.__name__ for kind in types))
        raise InputError(f"{where} has categories of types {found}; valid: all text or all numbers of one type")
    sql = _PLAIN_TYPES[next(iter(types), str)]
    described = {"kind": "category", "categories": categories, "dtype": str(dtype.categories.dtype),
                 "ordered": bool(dtype.ordered)}  # fmt: skip
    return _array(where, [None if code < 0 else categories[code] for code in values.codes], sql), sql, described


def _decode_category(column: pa.ChunkedArray, described: dict[str, Any]) -> pd.Categorical:
    codes = {category: code for code, category in enumerate(described["categories"])}
    found = [-1 if value is None else codes[value] for value in column.to_pylist()]
    categories = pd.Index(described["categories"], dtype=described["dtype"])
    return pd.Categorical.from_codes(found, categories=categories, ordered=described["ordered"])
