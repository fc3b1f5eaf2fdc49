"""Answers of SQL for people and for programs: a NULL, a NaN, an infinity and a text that says so stay four things."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

MOST_CHARACTERS = 60


def answer_records(answer: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON: NULL is null; NaN and infinities, for which JSON has no number, are the strings Python writes."""
    columns = [[_plain(value) for value in answer[name].astype(object)] for name in answer]
    names = [str(name) for name in answer]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def answer_table(answer: pd.DataFrame) -> str:
    """Rows as an aligned table; NULL is written NULL, lists as JSON."""
    if answer.empty:
        return "no rows"
    shown = pd.DataFrame({name: _words(answer[name]) for name in answer}, index=answer.index)
    return shown.to_string(index=False, max_colwidth=MOST_CHARACTERS)


def _words(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        # A plain NumPy column holds no NULL; pandas aligns its decimals.
        return column
    return pd.Series([_word(value) for value in column.astype(object)], index=column.index, dtype=object)


def _word(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return "NULL"
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A value of an answer as JSON holds it; nested ones all the way down."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or value is pd.NA:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if isinstance(value, str | int | float | bool) else str(value)
