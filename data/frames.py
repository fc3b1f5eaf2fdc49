"""A DataFrame as Arrow columns of few SQL types, and back again exactly.

Integers are stored as BIGINT (UBIGINT for uint64), floats as DOUBLE, text as VARCHAR, truth values as BOOLEAN: every
narrower pandas type fits without loss and the pandas type is remembered beside the data. NaN is stored as NaN and a
missing value as NULL; where a pandas type has one of the two only, it comes back as what it was.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data.columns import decode, encode
from hooks.errors import InputError


@dataclass(frozen=True)
class StoredColumn:
    """How one column of a frame is kept: its name, the column of the table it lies in, SQL type, pandas type."""

    name: str
    stored: str
    sql: str
    pandas: dict[str, Any]


@dataclass(frozen=True)
class EncodedFrame:
    """Columns and their arrays, in the frame's order, with the number of rows."""

    columns: tuple[StoredColumn, ...]
    arrays: tuple[pa.Array, ...]
    n_rows: int

    def table(self, **leading: pa.Array) -> pa.Table:
        """The arrays under the names they are stored by, after the given ones."""
        names = [*leading, *(column.stored for column in self.columns)]
        return pa.table([*leading.values(), *self.arrays], names=names)

    def stored_as(self, names: list[str], sql: list[str]) -> EncodedFrame:
        """The same data under other stored names and SQL types."""
        triples = zip(self.columns, names, sql, strict=True)
        return replace(self, columns=tuple(replace(c, stored=name, sql=kind) for c, name, kind in triples))

    def describe(self) -> str:
        """The columns as JSON."""
        return json.dumps([asdict(column) for column in self.columns], ensure_ascii=False)


def encode_frame(label: str, frame: pd.DataFrame) -> EncodedFrame:
    """Encode every column. Raises InputError naming frame and column for what cannot be kept exactly."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame {label!r} is a {type(frame).__name__}, not a DataFrame")
    _check_axes(label, frame)
    columns, arrays = [], []
    for position, name in enumerate(frame.columns):
        array, sql, pandas_type = encode(f"column {name!r} of frame {label!r}", frame.iloc[:, position])
        columns.append(StoredColumn(name, name, sql, pandas_type))
        arrays.append(array)
    return EncodedFrame(tuple(columns), tuple(arrays), len(frame))


def decode_frame(described: str, table: pa.Table, n_rows: int) -> pd.DataFrame:
    """The frame whose `describe()` this is, from a table that holds its stored columns."""
    columns = [StoredColumn(**fields) for fields in json.loads(described)]
    series = {column.name: decode(table.column(column.stored), column.pandas) for column in columns}
    return pd.DataFrame(series, index=pd.RangeIndex(n_rows))


def _check_axes(label: str, frame: pd.DataFrame) -> None:
    for name in frame.columns:
        if not isinstance(name, str) or not name or "\x00" in name or not _encodable(name):
            raise InputError(f"frame {label!r} has a column named {name!r}; names must be text that is not empty")
    if not frame.columns.is_unique:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        raise InputError(f"frame {label!r} has several columns named {twice}; names must differ")
    index = frame.index
    if isinstance(index, pd.MultiIndex) or index.name is not None or not _is_plain(index):
        raise InputError(f"frame {label!r} has an index that would be lost; call reset_index() on it first")


def _is_plain(index: pd.Index) -> bool:
    return len(index) == 0 or (isinstance(index.dtype, np.dtype) and index.dtype.kind in "iu")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
