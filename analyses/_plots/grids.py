"""From a tidy frame to the rectangle a heatmap draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

Rectangle = pd.DataFrame | np.ndarray


def grid(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    value: str,
    x_order: Sequence[Any] | None = None,
    y_order: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Pivot a tidy frame: rows are ``y``, columns ``x``, both ascending unless an order is given; absent cells are NaN.

    Two rows for one cell are refused, because a picture of either would be wrong half the time.
    """
    twice = frame[frame.duplicated([y, x])]
    if len(twice):
        raise ValueError(f"two rows for one cell: {y}={twice[y].tolist()[0]!r}, {x}={twice[x].tolist()[0]!r}")
    rows = sorted(frame[y].unique()) if y_order is None else list(y_order)
    columns = sorted(frame[x].unique()) if x_order is None else list(x_order)
    return frame.pivot(index=y, columns=x, values=value).reindex(index=rows, columns=columns)


def as_floats(values: Rectangle, name: str = "values", shape: tuple[int, int] | None = None) -> np.ndarray:
    """A two-dimensional float64 array of a frame or array, of ``shape`` when one is required."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        raise ValueError(f"{name} must be a rectangle {shape or '(rows, columns)'}, got shape {array.shape}")
    return array


def as_mask(values: Rectangle | None, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A boolean array of ``shape``; all False for None."""
    if values is None:
        return np.zeros(shape, dtype=bool)
    array = np.asarray(values, dtype=bool)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def drawable(values: np.ndarray, blank: np.ndarray | None = None) -> list[list[float | None]]:
    """Nested lists with None for cells to leave empty: those in ``blank`` and those without a finite value."""
    empty = ~np.isfinite(values) if blank is None else blank | ~np.isfinite(values)
    return [[None if gone else float(v) for v, gone in zip(row, holes, strict=True)]
            for row, holes in zip(values, empty, strict=True)]  # fmt: skip
