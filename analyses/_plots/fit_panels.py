"""Layout of small multiples: how many columns, where each panel lies, which ones carry labels."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from analyses._plots.fit_axes import BAR_PX, BAR_TICKS_PX, label_axis
from analyses._plots.theme import SMALL_PX, TEXT_PX, TICK_PX, escape, text_width
from analyses._plots.tokens import elide

GAP, HEAD = 8.0, 14.0
"""Pixels between panels, and above each for its title."""

LONGEST = 10
"""Letters of a label beside a panel, where there is less room than on a whole figure."""


def fit_panels(figure: go.Figure, meta: dict[str, Any], width: float, top: float) -> None:
    """Place the panels in rows; the first column carries the y labels of all, the lowest row the x labels."""
    count = len(meta["titles"])
    meta = meta | {name: [elide(label, LONGEST) for label in meta[name]] for name in ("x_labels", "y_labels")}
    deepest = max((text_width(label, SMALL_PX) for label in [*meta["x_labels"], *meta["y_labels"]]), default=0.0) + 4
    left, right = 8 + TEXT_PX * 1.5 + deepest, 10 + BAR_PX + BAR_TICKS_PX + TEXT_PX * 1.5
    bottom = 8 + TEXT_PX * 1.6 + deepest
    columns = min(count, _columns(width, count))
    rows = math.ceil(count / columns)
    side = (width - left - right - GAP * (columns - 1)) / columns
    tall = side * meta.get("aspect", 1.0)
    inner = rows * (tall + HEAD) + (rows - 1) * GAP
    notes = []
    for index in range(count):
        row, column = divmod(index, columns)
        x0, y1 = column * (side + GAP), inner - row * (tall + HEAD + GAP) - HEAD
        _place(figure, meta, index, (x0, x0 + side, y1 - tall, y1), (width - left - right, inner), columns)
        notes.append(_title(meta["titles"][index], x0 / (width - left - right), y1 / inner))
    notes += [_axis_title(meta["x_title"], inner, bottom, vertical=False),
              _axis_title(meta["y_title"], width - left - right, left, vertical=True)]  # fmt: skip
    figure.update_layout(
        annotations=notes,
        margin={"l": left, "r": right, "t": top, "b": bottom, "pad": 0},
        height=top + inner + bottom,
    )


def _columns(width: float, count: int) -> int:
    """As many panels in a row as stay at least 50 px wide, evened out so that no row is nearly empty."""
    most = max(1, min(count, 5, int((width - 132) // 58)))
    return math.ceil(count / math.ceil(count / most))


def _place(
    figure: go.Figure,
    meta: dict[str, Any],
    index: int,
    box: tuple[float, float, float, float],
    size: tuple[float, float],
    columns: int,
) -> None:
    suffix = "" if index == 0 else str(index + 1)
    x_axis, y_axis = figure.layout[f"xaxis{suffix}"], figure.layout[f"yaxis{suffix}"]
    x_axis.domain = [max(0.0, box[0] / size[0]), min(1.0, box[1] / size[0])]
    y_axis.domain = [max(0.0, box[2] / size[1]), min(1.0, box[3] / size[1])]
    label_axis(x_axis, meta["x_labels"], box[1] - box[0])
    label_axis(y_axis, meta["y_labels"], box[3] - box[2], upright=True)
    x_axis.update(
        tickangle=-90, automargin=False, showticklabels=index // columns == (len(meta["titles"]) - 1) // columns
    )
    y_axis.update(automargin=False, showticklabels=index % columns == 0)
    x_axis.tickfont.size = y_axis.tickfont.size = SMALL_PX


def _title(text: str, x: float, y: float) -> dict[str, Any]:
    return {
        "text": escape(text),
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": TICK_PX},
        "borderpad": 0,
    }


def _axis_title(text: str, length: float, depth: float, *, vertical: bool) -> dict[str, Any]:
    """One title for all panels, in the outer margin; ``depth`` is that margin's size in px."""
    shared = {"text": escape(text), "xref": "paper", "yref": "paper", "showarrow": False, "font": {"size": TEXT_PX}}
    if vertical:
        return {**shared, "x": 0, "y": 0.5, "xshift": -depth + TEXT_PX, "textangle": -90, "xanchor": "center"}
    return {**shared, "x": 0.5, "y": 0, "yshift": -depth + 2, "yanchor": "bottom"}
