"""Where the nodes and edges of a graph lie on a plot of a given size, in pixels from its lower left corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

LEAST_UNIT, ROW_UNIT = 7.0, 15.0
"""Pixels: below the first, nodes side by side would touch; the second is what a line of nodes takes at best."""
FARTHEST = 34.0
"""Most pixels between neighbours of one cell, however wide its column."""
LOWEST, HIGHEST = 190.0, 470.0
"""Height of the plot in pixels, whatever the number of rows."""
EDGE = 4.0
"""Pixels above the highest row and below the lowest, for their labels."""
AIR, EMPTY = 0.7, 0.45
"""In units of one node: the gap between two columns or rows, and the whole of one without a node."""
BEND, MOST_BEND, STEPS = 0.13, 34.0, 13
"""Edges that skip rows are bent by this share of their length, at most so many pixels, and drawn in so many points."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Node centres `x`, `y`; the centres of columns and rows; size of a node and of the plot. All in pixels."""

    x: np.ndarray
    y: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    node_px: float
    across: float
    tall: float


def place(
    row: np.ndarray, column: np.ndarray, rows: int, columns: int, across: float, slot: np.ndarray | None = None
) -> Placed:  # fmt: skip
    """Spread the nodes of every cell side by side, in as many lines as the width asks for.

    row, column: [node]. Columns are as wide as their fullest cell; those without a node are narrow. `slot` [node] says
    instead where in its column a node stands, 0 leftmost, so that nodes of one slot lie above one another.
    """
    if slot is not None:
        return _slotted(row, column, rows, columns, across, slot)
    cells = pd.DataFrame({"row": row, "column": column})
    number = cells.groupby(["row", "column"]).cumcount().to_numpy()
    count = cells.groupby(["row", "column"])["row"].transform("size").to_numpy() if len(cells) else number
    beside = int(count.max()) if len(cells) else 1
    while beside > 1 and _units(column, np.minimum(count, beside), columns).sum() * LEAST_UNIT > across:
        beside -= 1
    wide = _units(column, np.minimum(count, beside), columns)
    high = _units(row, -(-count // beside), rows)
    x_px = across / wide.sum()
    tall = float(np.clip(high.sum() * ROW_UNIT, LOWEST, HIGHEST))
    y_px = tall / high.sum()
    column_at, row_at = (np.cumsum(size) - size / 2 for size in (wide, high))
    line, at = np.divmod(number, beside)
    lines = -(-count // beside)
    in_line = np.where(line < lines - 1, np.minimum(count, beside), count - (lines - 1) * beside)
    x = column_at[column] * x_px + (at - (in_line - 1) / 2) * min(x_px, FARTHEST)
    y = (row_at[row] + line - (lines - 1) / 2) * y_px
    return Placed(x, y + EDGE, column_at * x_px, row_at * y_px + EDGE, _node_px(x_px, y_px), across, tall + 2 * EDGE)


def _slotted(
    row: np.ndarray, column: np.ndarray, rows: int, columns: int, across: float, slot: np.ndarray
) -> Placed:  # fmt: skip
    slots = pd.Series(slot).groupby(column)
    at = slot - slots.transform("min").to_numpy()
    beside = slots.transform("max").to_numpy() - slots.transform("min").to_numpy() + 1
    wide, high = _units(column, beside, columns), _units(row, np.ones_like(row), rows)
    x_px, tall = across / wide.sum(), float(np.clip(high.sum() * ROW_UNIT, LOWEST, HIGHEST))
    y_px = tall / high.sum()
    column_at, row_at = (np.cumsum(size) - size / 2 for size in (wide, high))
    x = column_at[column] * x_px + (at - (beside - 1) / 2) * min(x_px, FARTHEST)
    row_at = row_at * y_px + EDGE
    return Placed(x, row_at[row], column_at * x_px, row_at, _node_px(x_px, y_px), across, tall + 2 * EDGE)


def _node_px(x_px: float, y_px: float) -> float:
    return float(np.clip(0.62 * min(x_px, y_px), 3.0, 8.0))


def _units(index: np.ndarray, needed: np.ndarray, length: int) -> np.ndarray:
    """The size of every column (or row) in nodes, with the gap after it."""
    most = np.zeros(length)
    np.maximum.at(most, index, needed)
    return np.where(most > 0, most + AIR, EMPTY)


def curves(placed: Placed, source: np.ndarray, target: np.ndarray, skips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of every edge, x and y each [edge STEPS]: straight, or bent where `skips` says that rows lie between.

    Without the bend an edge within one column would run through the nodes that lie between its ends.
    """
    x0, y0, x1, y1 = placed.x[source], placed.y[source], placed.x[target], placed.y[target]
    long = np.hypot(x1 - x0, y1 - y0) + 1e-9
    bend = np.where(skips, np.minimum(BEND * long, MOST_BEND), 0.0)
    # The middle is moved to the right of the way up, or to its left where the right edge of the plot is near.
    bend = np.where(np.maximum(x0, x1) + bend > placed.across, -bend, bend)
    middle_x = np.clip((x0 + x1) / 2 + bend * 2 * (y1 - y0) / long, 0, placed.across)
    middle_y = (y0 + y1) / 2 - bend * 2 * (x1 - x0) / long
    part = np.linspace(0, 1, STEPS)
    one, two, three = (1 - part) ** 2, 2 * part * (1 - part), part**2
    return tuple(
        np.outer(start, one) + np.outer(middle, two) + np.outer(end, three)
        for start, middle, end in ((x0, middle_x, x1), (y0, np.clip(middle_y, 0, placed.tall), y1))
    )  # type: ignore[return-value]
