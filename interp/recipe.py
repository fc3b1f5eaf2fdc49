"""What made a figure, as plain JSON, and the exact comparison that says whether it was made again."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from hooks.errors import InputError

FIELDS: dict[str, type] = {
    "workbench": str,
    "analysis": str,
    "analysis_version": int,
    "figure": str,
    "model": dict,
    "inputs": dict,
    "spec": dict,
    "checks": dict,
    "run": str,
    "command": str,
    "created": str,
    "digests": dict,
}
"""Every recipe has exactly these fields; ``digests`` maps a frame's name to its SHA-256, ``command`` makes it again."""


def build_recipe(
    *,
    workbench: str,
    analysis: str,
    analysis_version: int,
    figure: str,
    model: Mapping[str, Any],
    inputs: Mapping[str, Any],
    spec: Mapping[str, Any],
    checks: Mapping[str, Any],
    run: str,
    command: str,
    frames: Mapping[str, pd.DataFrame],
    created: str = "",
) -> dict[str, Any]:
    """A recipe with the digests of ``frames``; ``created`` is now (UTC, ISO 8601) unless given."""
    recipe = {
        "workbench": workbench,
        "analysis": analysis,
        "analysis_version": analysis_version,
        "figure": figure,
        "model": dict(model),
        "inputs": dict(inputs),
        "spec": dict(spec),
        "checks": dict(checks),
        "run": run,
        "command": command,
        "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
        "digests": {name: frame_digest(frame) for name, frame in frames.items()},
    }
    to_json(recipe)
    return check_recipe(recipe)


def check_recipe(recipe: object, source: str = "recipe") -> dict[str, Any]:
    """The recipe itself if every field is there with its type; InputError naming ``source`` and fields otherwise."""
    if not isinstance(recipe, dict):
        raise InputError(f"{source}: a recipe is a JSON object, got {type(recipe).__name__}")
    missing = [name for name in FIELDS if name not in recipe]
    wrong = [f"{name} ({kind.__name__})" for name, kind in FIELDS.items()
             if name in recipe and (not isinstance(recipe[name], kind) or isinstance(recipe[name], bool))]  # fmt: skip
    if missing or wrong:
        raise InputError(f"{source}: not a recipe; missing {missing or 'nothing'}, of the wrong type {wrong or 'none'}")
    return recipe


def to_json(recipe: Mapping[str, Any]) -> str:
    """Canonical JSON, safe inside XML, HTML, PNG and PDF alike: ASCII only, and ``< > &`` written as escapes.

    InputError when something in it is not plain JSON (NaN and infinities included).
    """
    try:
        text = json.dumps(recipe, ensure_ascii=True, allow_nan=False, sort_keys=True, indent=None)
    except (TypeError, ValueError) as problem:
        raise InputError(f"recipe: not plain JSON ({problem})") from problem
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def from_json(text: str | bytes, source: str) -> dict[str, Any]:
    """Read :func:`to_json` back and check it; InputError naming ``source`` if it is damaged."""
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{source}: the recipe inside is damaged ({problem})") from problem
    return check_recipe(recipe, source)


def frame_digest(frame: pd.DataFrame) -> str:
    """SHA-256 over column names, dtypes and exact values, in order; the index plays no part.

    Equal numbers have equal digests: every NaN counts as the same missing value and -0.0 as 0.0; beyond that a single
    differing bit shows. Cells may hold numbers, text, booleans, times, missing values, and lists or dicts of these.
    """
    digest = hashlib.sha256(f"{len(frame)} {frame.shape[1]}".encode())
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        digest.update(_cell(str(name)) + _cell(str(column.dtype)))
        digest.update(_values(column))
    return digest.hexdigest()


def _values(column: pd.Series) -> bytes:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind == "f":
        # Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
        numbers = column.to_numpy() + kind.type(0.0)
        return np.where(np.isnan(numbers), kind.type(np.nan), numbers).tobytes()
    if isinstance(kind, np.dtype) and kind.kind in "iub":
        return column.to_numpy().tobytes()
    return b"".join(_cell(value) for value in column.tolist())


def _cell(value: Any) -> bytes:
    """One value as bytes that say its kind and its length, so that no two different sequences read the same."""
    if isinstance(value, Mapping):
        return b"d%d:" % len(value) + b"".join(_cell(key) + _cell(value[key]) for key in sorted(value, key=str))
    if isinstance(value, list | tuple | np.ndarray):
        return b"l%d:" % len(value) + b"".join(map(_cell, value))
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return b"n"
    if isinstance(value, bool | np.bool_):
        return b"b%d" % bool(value)
    if isinstance(value, int | np.integer):
        return b"i%d;" % int(value)
    if isinstance(value, float | np.floating):
        return b"f" + struct.pack("<d", float(value) + 0.0) if value == value else b"n"
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(text) + text
    if isinstance(value, bytes):
        return b"y%d:" % len(value) + value
    if isinstance(value, pd.Timestamp | pd.Timedelta | datetime):
        return b"t" + _cell(value.isoformat())
    raise InputError(f"a cell of type {type(value).__name__} cannot be compared; use numbers, text, lists or dicts")


def compare_frames(first: Mapping[str, pd.DataFrame], second: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a column of either side: ``frame, column, equal, max_abs_difference, note``.

    ``equal`` is exact and agrees with :func:`frame_digest`. ``max_abs_difference`` is over numeric cells: 0 if equal,
    infinite when a number stands against a missing value, NaN when the columns cannot be subtracted.
    """
    rows = []
    for name in [*first, *(name for name in second if name not in first)]:
        rows += _compare(name, first.get(name), second.get(name))
    return pd.DataFrame(rows, columns=["frame", "column", "equal", "max_abs_difference", "note"]).astype(
        {"equal": bool, "max_abs_difference": float}
    )


def _compare(name: str, first: pd.DataFrame | None, second: pd.DataFrame | None) -> list[tuple[Any, ...]]:
    if first is None or second is None:
        return [(name, "", False, math.nan, f"only in the {'second' if first is None else 'first'}")]
    if len(first) != len(second):
        return [(name, "", False, math.nan, f"{len(first)} rows against {len(second)}")]
    if list(first.columns) != list(second.columns):
        return [(name, "", False, math.nan, f"columns {list(first.columns)} against {list(second.columns)}")]
    rows: list[tuple[Any, ...]] = []
    for place, column in enumerate(first.columns):
        a, b = first.iloc[:, place], second.iloc[:, place]
        equal = a.dtype == b.dtype and _values(a) == _values(b)
        note = "" if a.dtype == b.dtype else f"dtype {a.dtype} against {b.dtype}"
        rows.append((name, str(column), equal, 0.0 if equal else _distance(a, b), note))
    return rows


def _distance(a: pd.Series, b: pd.Series) -> float:
    if not (pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b)):
        return math.nan
    left, right = (side.to_numpy(dtype=np.float64, na_value=np.nan) for side in (a, b))
    gaps = np.where((left == right) | (np.isnan(left) & np.isnan(right)), 0.0, np.abs(left - right))
    return float(np.max(np.where(np.isnan(gaps), np.inf, gaps), initial=0.0))
