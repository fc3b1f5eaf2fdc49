"""Layout of a graph for a given width: nodes, edges and labels are placed anew, for their pixels differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from analyses._plots.fit_axes import LEGEND_ROW_PX
from analyses._plots.graph_layout import Placed, curves, place
from analyses._plots.point_labels import name_points
from analyses._plots.theme import TEXT_PX, TICK_PX, escape, text_width
from analyses._plots.tokens import elide
from analyses._plots.words import number_labels

GAPS = (4.0, 15.0, 40.0)
"""How far from its node a label may stand, in pixels: the next where something lies nearer."""
LONGEST = 14
"""Letters of an axis label."""


def fit_graph(figure: go.Figure, meta: dict[str, Any], width: float, top: float) -> None:
    """Set margins, height, ticks and every point of a graph; axes count pixels from the lower left corner."""
    x_labels, y_labels = (
        [elide(one, LONGEST) for one in number_labels(meta[name])] for name in ("x_labels", "y_labels")
    )
    left = 8 + TEXT_PX * 1.5 + max((text_width(one, TICK_PX) for one in y_labels), default=0.0) + 4
    right, across = 10.0, width - left - 10.0
    nodes = meta["nodes"]
    row, column = (np.array(nodes[name], dtype=int) for name in ("row", "column"))
    slot = np.array(nodes["slot"], dtype=int) if "slot" in nodes else None
    placed = place(row, column, len(y_labels), len(x_labels), across, slot)
    source, target = (np.array(meta[name], dtype=int) for name in ("source", "target"))
    x, y = curves(placed, source, target, np.abs(row[target] - row[source]) > 1)
    for trace in figure.data:
        _draw(trace, placed, x, y)
    depth = _ticks(figure.layout.xaxis, x_labels, placed.columns, across, np.unique(column), upright=False)
    _ticks(figure.layout.yaxis, y_labels, placed.rows, placed.tall, np.unique(row), upright=True)
    figure.layout.xaxis.update(range=[0, across], title={"text": escape(meta["x_title"])})
    figure.layout.yaxis.update(range=[0, placed.tall], title={"text": escape(meta["y_title"])})
    points = {"at": [[a / across, b / placed.tall] for a, b in zip(placed.x, placed.y, strict=True)],
              "names": meta["named"]}  # fmt: skip
    figure.layout.annotations = name_points({"points": points}, across, placed.tall, GAPS)
    top += _legend_rows(figure, across) * LEGEND_ROW_PX
    bottom = 8 + TEXT_PX * 1.6 + depth
    figure.update_layout(margin={"l": left, "r": right, "t": top, "b": bottom, "pad": 0},
                         height=top + placed.tall + bottom)  # fmt: skip


def magnify_graph(figure: go.Figure, scale: float) -> None:
    """Multiply lines and points, whose sizes are not in the axes' pixels."""
    for trace in figure.data:
        if trace.mode == "lines":
            trace.line.width *= scale
        elif trace.meta["role"] in ("nodes", "ring"):
            trace.marker.size *= scale


def _draw(trace: Any, placed: Placed, x: np.ndarray, y: np.ndarray) -> None:
    role = trace.meta["role"]
    if role == "edges":
        # A hole after each edge parts it from the next: one trace draws them all.
        members = trace.meta["members"]
        hole = np.full((len(members), 1), np.nan)
        trace.update(x=_flat(np.hstack([x[members], hole])), y=_flat(np.hstack([y[members], hole])))
        trace.line.width = trace.meta["px"]
    elif role == "middles":
        half = x.shape[1] // 2
        trace.update(x=_flat(x[:, half]), y=_flat(y[:, half]))
    else:
        members = trace.meta["members"]
        trace.update(x=_flat(placed.x[members]), y=_flat(placed.y[members]))
        trace.marker.size = placed.node_px + (4 if role == "ring" else 0)


def _legend_rows(figure: go.Figure, across: float) -> int:
    """Rows of the legend: Plotly gives every entry the width of the widest, of plain lower-case words here."""
    names = [trace.name for trace in figure.data if trace.showlegend]
    widest = max((text_width(one, TEXT_PX) * 0.92 for one in names), default=0.0) + 40
    return -(-len(names) // max(1, int(across // widest)))


def _flat(values: np.ndarray) -> list[float | None]:
    """Pixels to a tenth, None for a hole."""
    return [None if one != one else one for one in np.round(values, 1).ravel().tolist()]


def _ticks(axis: Any, labels: list[str], at: np.ndarray, length: float, used: np.ndarray, *, upright: bool) -> float:
    """Labels at the centres of columns or rows, those with a node first, as far as they do not touch; their depth."""
    wide = {place: text_width(one, TICK_PX) for place, one in enumerate(labels)}
    flat = not upright and all(_apart(at, place, wide) for place in used)
    order = [*used.tolist(), *(place for place in range(len(labels)) if place not in set(used.tolist()))]
    kept: list[int] = []
    for one in order:
        room = [abs(at[one] - at[other]) >= ((wide[one] + wide[other]) / 2 + 5 if flat else TICK_PX * 1.1)
                for other in kept]  # fmt: skip
        if all(room):
            kept.append(one)
    kept.sort()
    axis.update(tickmode="array", tickvals=[float(at[place]) for place in kept],
                ticktext=[escape(labels[place]) for place in kept], tickfont={"size": TICK_PX},
                tickangle=0 if flat or upright else -90, automargin=False)  # fmt: skip
    deepest = max((wide[place] for place in kept), default=0.0)
    return TICK_PX * 1.5 if flat else deepest + 6


def _apart(at: np.ndarray, place: int, wide: dict[int, float]) -> bool:
    """Whether a label has room between its neighbours' centres."""
    gaps = [abs(at[place] - at[other]) for other in (place - 1, place + 1) if 0 <= other < len(at)]
    return not gaps or wide[place] + 5 <= min(gaps)
