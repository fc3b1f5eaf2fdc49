"""Bars and lines with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._plots.fit import fit
from analyses._plots.intervals import error_bars, row_intervals
from analyses._plots.theme import CATEGORIES, NEGATIVE, POSITIVE, escape, template

GRID = "#E5E5E5"
LINE = {"showline": True, "linecolor": "#333333", "ticks": "outside", "ticklen": 3}
LEGEND = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left", "bgcolor": "rgba(0,0,0,0)"}
FEW = 8
"""Up to this range whole numbers on a line's axis have a tick each."""
DASHES = ("solid", "dash", "dot", "dashdot")


def bars(
    frame: pd.DataFrame,
    *,
    label: str,
    value: str,
    title: str,
    unit: str,
    legend: str,
    low: str | None = None,
    high: str | None = None,
    y_title: str = "",
) -> go.Figure:
    """Signed contributions as horizontal bars, the frame's first row on top: blue above zero, red below.

    ``label``, ``value`` and the interval's ``low`` and ``high`` are column names; ``legend`` is printed and says what
    the sign means.
    """
    values = frame[value].astype(float)
    colours = [POSITIVE if number >= 0 else NEGATIVE for number in values]
    labels = [str(text) for text in frame[label]]
    places = list(range(len(frame)))
    intervals = row_intervals(frame, low, high)
    hovers = [f"{escape(text)}<br>{number:.4g}{bounds} {escape(unit)}"
              for text, number, bounds in zip(labels, values, intervals, strict=True)]  # fmt: skip
    figure = go.Figure(go.Bar(
        x=list(values), y=places, orientation="h", error_x=error_bars(frame, value, low, high), showlegend=False,
        hovertext=hovers, hoverinfo="text", marker={"color": colours, "line": {"width": 0}}))  # fmt: skip
    row_px = max(7.0, min(16.0, 420.0 / max(len(frame), 1)))
    figure.update_layout(template=template(), bargap=0.25, meta={
        "kind": "axes", "title": title, "notes": [legend], "y_labels": labels, "x_title": unit, "y_title": y_title,
        "row_px": row_px, "plot_px": max(60.0, row_px * len(frame))})  # fmt: skip
    figure.update_xaxes(title_text=escape(unit), zeroline=True, zerolinecolor="#333333", showgrid=True, gridcolor=GRID)
    figure.update_yaxes(title_text=escape(y_title), range=[len(frame) - 0.5, -0.5])
    return fit(figure)


def lines(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    title: str,
    x_title: str,
    y_title: str,
    group: str | None = None,
    low: str | None = None,
    high: str | None = None,
    x_labels: list[str] | None = None,
    legend: str = "",
) -> go.Figure:
    """One line a value of the column ``group``, with a band from ``low`` to ``high`` when both are named.

    ``x`` is a numeric column; with ``x_labels`` it counts positions 0, 1, 2, … and they are its labels. Groups keep the
    order in which they first appear and take colour and, after eight of them, dash in turn.
    """
    figure = go.Figure()
    parts = [("", frame)] if group is None else frame.groupby(group, sort=False, dropna=False)
    groups = [(str(name), part) for name, part in parts]
    for index, (name, part) in enumerate(groups):
        colour = CATEGORIES[index % len(CATEGORIES)]
        dash = DASHES[index // len(CATEGORIES) % len(DASHES)]
        part = part.sort_values(x, kind="stable")
        # A band over one place has no width: there the interval is a bar.
        alone = part[x].nunique() == 1
        if low is not None and high is not None and not alone:
            figure.add_trace(_band(part, x, low, high, colour))
        figure.add_trace(go.Scatter(
            error_y=error_bars(part, y, low, high) if alone else None,
            x=list(part[x]), y=list(part[y].astype(float)), mode="lines+markers", name=escape(name),
            showlegend=group is not None, line={"color": colour, "width": 1.5, "dash": dash}, marker={"size": 4},
            hovertemplate=f"{escape(name)}<br>{escape(x_title)} %{{x}}<br>%{{y:.4g}}<extra></extra>"))  # fmt: skip
    figure.update_layout(
        template=template(),
        legend=LEGEND,
        meta={"kind": "axes", "title": title, "notes": [legend] if legend else [], "x_labels": x_labels,
              "x_title": x_title, "y_title": y_title, "plot_px": 220.0},
    )  # fmt: skip
    figure.update_xaxes(title_text=escape(x_title), **LINE, **_whole(frame[x]))
    figure.update_yaxes(title_text=escape(y_title), showgrid=True, gridcolor=GRID, **LINE)
    return fit(figure)


def _whole(values: pd.Series) -> dict[str, int]:
    """A tick a number where layers or counts are few: Plotly by itself would put one at 1.5 components."""
    numbers = values.to_numpy(dtype=float)
    few = len(numbers) > 0 and float(np.ptp(numbers)) <= FEW
    return {"dtick": 1} if few and (numbers == np.round(numbers)).all() else {}


def _band(part: pd.DataFrame, x: str, low: str, high: str, colour: str) -> go.Scatter:
    """The interval as a filled outline: up along the lower bound, back along the upper, where there is one."""
    part = part[np.isfinite(part[[low, high]].to_numpy(dtype=float)).all(axis=1)]
    forth, back = part, part.iloc[::-1]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return go.Scatter(
        x=[*forth[x], *back[x]],
        y=[*forth[low].astype(float), *back[high].astype(float)],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
