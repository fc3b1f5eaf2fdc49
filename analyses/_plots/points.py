"""Scatter plots with intervals, labels, an identity line and the rank correlation in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._plots.fit import fit
from analyses._plots.intervals import error_bars, row_intervals
from analyses._plots.marks import GRID, LEGEND
from analyses._plots.theme import CATEGORIES, QUIET, escape, template
from analyses._stats import rank_correlation

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")
FAINT = "rgba(85,85,85,0.45)"


def scatter(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    title: str,
    x_title: str,
    y_title: str,
    label: str | None = None,
    labelled: int = 12,
    group: str | None = None,
    x_low: str | None = None,
    x_high: str | None = None,
    y_low: str | None = None,
    y_high: str | None = None,
    identity: bool = False,
    correlation: bool = True,
    legend: str = "",
) -> go.Figure:
    """One point a row: estimate against true effect, or one kind of selectivity against another.

    ``label`` names a column written beside the ``labelled`` points farthest from the middle, as far as there is room
    (the hover has them all). ``group`` colours and shapes the points. ``identity`` draws y = x on equal ranges,
    ``correlation`` prints Spearman's rank correlation. Rows without two finite numbers are left out
    and counted.
    """
    kept = frame[np.isfinite(frame[[x, y]].to_numpy(dtype=float)).all(axis=1)]
    if not len(kept):
        raise ValueError(f"scatter: no row has finite {x} and {y}")
    spans = _ranges(kept, ((x, x_low, x_high), (y, y_low, y_high)), identity)
    figure = go.Figure()
    if identity:
        figure.add_trace(go.Scatter(x=spans[0], y=spans[0], mode="lines", hoverinfo="skip", showlegend=False,
                                    line={"color": QUIET, "width": 1, "dash": "dash"}, name="y = x"))  # fmt: skip
    parts = [("", kept)] if group is None else kept.groupby(group, sort=False, dropna=False)
    for index, (name, rows) in enumerate(parts):
        figure.add_trace(_points(rows, str(name), index, (x, y, label), (x_low, x_high, y_low, y_high)))
    notes = [legend] if legend else []
    said = [_correlated(kept[x], kept[y])] if correlation else []
    notes += ["; ".join([*said, *(["dashed: y = x"] if identity else [])])] if said or identity else []
    notes += [f"points without a finite value, left out: {len(frame) - len(kept)}"] if len(kept) < len(frame) else []
    meta = {"kind": "axes", "title": title, "notes": notes, "x_title": x_title, "y_title": y_title, "plot_px": 260.0,
            "square": identity, "points": _labels(kept, x, y, label, labelled, spans)}  # fmt: skip
    figure.update_layout(template=template(), legend=LEGEND, meta=meta, showlegend=group is not None)
    grid = {"showgrid": True, "gridcolor": GRID, "zeroline": True, "zerolinecolor": "#AAAAAA", "showline": True,
            "linecolor": "#333333", "ticks": "outside", "ticklen": 3}  # fmt: skip
    figure.update_xaxes(title_text=escape(x_title), range=list(spans[0]), **grid)
    figure.update_yaxes(title_text=escape(y_title), range=list(spans[1]), **grid)
    return fit(figure)


def _points(
    rows: pd.DataFrame, name: str, index: int, columns: tuple[str, str, str | None], bounds: Sequence[str | None]
) -> go.Scatter:
    x, y, label = columns
    words = [row_intervals(rows, *bounds[:2]), row_intervals(rows, *bounds[2:])]
    names = [""] * len(rows) if label is None else [f"{escape(text)}<br>" for text in rows[label]]
    hovers = [
        f"{named}{escape(name) + '<br>' if name else ''}x {one:.4g}{first}<br>y {other:.4g}{second}"
        for named, one, first, other, second in zip(names, rows[x], words[0], rows[y], words[1], strict=True)
    ]
    return go.Scatter(
        x=[float(value) for value in rows[x]], y=[float(value) for value in rows[y]], mode="markers", name=escape(name),
        error_x=error_bars(rows, x, *bounds[:2], width=0, colour=FAINT),
        error_y=error_bars(rows, y, *bounds[2:], width=0, colour=FAINT),
        marker={"size": 5, "color": CATEGORIES[index % len(CATEGORIES)], "symbol": SYMBOLS[index % len(SYMBOLS)],
                "opacity": 0.8, "line": {"width": 0}},
        hovertext=hovers, hoverinfo="text", showlegend=bool(name))  # fmt: skip


def _ranges(
    rows: pd.DataFrame, axes: Sequence[tuple[str, str | None, str | None]], identity: bool
) -> list[tuple[float, float]]:
    """Both axes' ranges, intervals inside, a twentieth of air around; one for both where they are compared."""
    spans = []
    for columns in axes:
        numbers = rows[[name for name in columns if name is not None]].to_numpy(dtype=float)
        numbers = numbers[np.isfinite(numbers)]
        spans.append((float(numbers.min()), float(numbers.max())))
    if identity:
        spans = [(min(low for low, _ in spans), max(high for _, high in spans))] * 2
    air = [0.06 * (high - low) or max(abs(high), 1.0) * 0.1 for low, high in spans]
    return [(low - more, high + more) for (low, high), more in zip(spans, air, strict=True)]


def _labels(
    rows: pd.DataFrame, x: str, y: str, label: str | None, most: int, spans: list[tuple[float, float]]
) -> dict[str, Any]:
    """Every point in units of the plot (0…1), and the names to write, most distant first."""
    across, up = ((rows[name].to_numpy(dtype=float) - low) / (high - low)
                  for name, (low, high) in zip((x, y), spans, strict=True))  # fmt: skip
    away = np.hypot(across - np.median(across), up - np.median(up))
    order = [] if label is None else _different(rows[[label, x, y]], np.argsort(-away, kind="stable"))[:most]
    return {"at": [[float(a), float(b)] for a, b in zip(across, up, strict=True)],
            "names": [[place, str(rows[label].iloc[place])] for place in order]}  # fmt: skip


def _different(points: pd.DataFrame, order: Any) -> list[int]:
    """Places in this order, a point that stands in several groups once."""
    return [int(place) for place in order[~points.iloc[order].duplicated().to_numpy()]]


def _correlated(first: pd.Series, second: pd.Series) -> str:
    found = rank_correlation(first, second)
    if np.isnan(found.value):
        return f"rank correlation undefined: all {len(first)} values of one axis are equal"
    # No interval: points are cells or heads of one model, which share layers and are not drawn independently.
    return f"Spearman's rank correlation {found.value:.2f} over {len(first)} points"
