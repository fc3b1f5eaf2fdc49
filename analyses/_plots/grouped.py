"""Bars side by side, and the steps of a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd
import plotly.graph_objects as go

from analyses._plots.fit import fit
from analyses._plots.intervals import error_bars, row_intervals
from analyses._plots.marks import GRID, LEGEND, LINE
from analyses._plots.theme import CATEGORIES, QUIET, escape, template

ROOM = 0.8
"""Share of its place on the axis that a group of bars takes."""

STEP_PX = 22.0


def grouped_bars(
    frame: pd.DataFrame,
    *,
    x: str,
    group: str,
    value: str,
    title: str,
    x_title: str,
    y_title: str,
    low: str | None = None,
    high: str | None = None,
    legend: str = "",
    colours: Mapping[str, str] | None = None,
    reference: float | None = None,
    pale: str | None = None,
) -> go.Figure:
    """Bars of each ``group`` at every place of ``x``, with their intervals: rates of several controls, say.

    Both keep the order in which they first appear. A place that lacks a group has fewer, wider bars. ``colours`` names
    a group's colour, ``reference`` draws a level to compare with, bars where the column ``pale`` is true are paler.
    Raises ValueError for two rows of one bar.
    """
    if frame.duplicated([x, group]).any():
        twice = frame[frame.duplicated([x, group])].iloc[0]
        raise ValueError(f"two rows for one bar: {x}={twice[x]!r}, {group}={twice[group]!r}")
    places = {place: index for index, place in enumerate(dict.fromkeys(frame[x]))}
    groups = list(dict.fromkeys(frame[group]))
    here = {place: [name for name in groups if name in set(frame.loc[frame[x] == place, group])] for place in places}
    figure = go.Figure()
    for index, name in enumerate(groups):
        rows = frame[frame[group] == name]
        widths = [ROOM / len(here[place]) for place in rows[x]]
        starts = [-ROOM / 2 + here[place].index(name) * width for place, width in zip(rows[x], widths, strict=True)]
        hovers = [
            f"{escape(name)}, {escape(place)}<br>{number:.4g}{bounds} {escape(y_title)}"
            for place, number, bounds in zip(rows[x], rows[value], row_intervals(rows, low, high), strict=True)
        ]
        colour = (colours or {}).get(str(name), CATEGORIES[index % len(CATEGORIES)])
        figure.add_trace(go.Bar(
            x=[places[place] for place in rows[x]], y=[float(number) for number in rows[value]], name=escape(name),
            offset=starts, width=widths, error_y=error_bars(rows, value, low, high), hovertext=hovers,
            hoverinfo="text", marker={"color": colour, "line": {"width": 0}, "opacity": _opacity(rows, pale)},
            showlegend=len(groups) > 1))  # fmt: skip
    if reference is not None:
        figure.add_hline(y=reference, line={"color": QUIET, "width": 1, "dash": "dash"})
    meta = {"kind": "axes", "title": title, "notes": [legend] if legend else [], "x_labels": [str(p) for p in places],
            "x_title": x_title, "y_title": y_title, "plot_px": 220.0}  # fmt: skip
    figure.update_layout(template=template(), legend=LEGEND, meta=meta)
    figure.update_xaxes(title_text=escape(x_title), range=[-0.6, len(places) - 0.4], **(LINE | {"ticks": ""}))
    figure.update_yaxes(title_text=escape(y_title), showgrid=True, gridcolor=GRID, zeroline=True,
                        zerolinecolor="#333333", zerolinewidth=1)  # fmt: skip
    return fit(figure)


def _opacity(rows: pd.DataFrame, pale: str | None) -> list[float] | float:
    return 1.0 if pale is None else [0.35 if one else 1.0 for one in rows[pale]]


def funnel(
    labels: Sequence[str], counts: Sequence[int], *, title: str, noun: str = "prompts", legend: str = ""
) -> go.Figure:
    """The steps of a filter, first on top: a bar a step, its count and its share of the step before written beside it.

    ``labels`` say what the step asks for, ``counts`` how many pass it. Raises ValueError when a later step has more.
    """
    if not counts or len(labels) != len(counts) or any(b > a for a, b in pairwise(counts)):
        raise ValueError(f"a funnel needs one label a step and counts that do not grow, got {list(counts)}")
    before = [None, *counts[:-1]]
    words = [f"{count:,}" if last is None else f"{count:,} ({count / last:.0%})" if last else f"{count:,}"
             for count, last in zip(counts, before, strict=True)]  # fmt: skip
    # Where a bar is long its words lie inside, so that they never leave the plot.
    inside = [count > 0.6 * max(max(counts), 1) for count in counts]
    figure = go.Figure(go.Bar(
        x=list(counts), y=list(range(len(counts))), orientation="h", text=words, cliponaxis=False, showlegend=False,
        textposition=["inside" if one else "outside" for one in inside], insidetextanchor="end", textangle=0,
        textfont={"size": 9, "color": ["#FFFFFF" if one else "#111111" for one in inside]},
        hovertext=[f"{escape(label)}<br>{word} {escape(noun)}" for label, word in zip(labels, words, strict=True)],
        hoverinfo="text", marker={"color": CATEGORIES[0], "line": {"width": 0}}))  # fmt: skip
    said = [legend] if legend else []
    meta = {"kind": "axes", "title": title, "notes": [*said, "in brackets: share of the step before"],
            "y_labels": list(labels), "x_title": f"number of {noun}", "y_title": "",
            "row_px": STEP_PX, "plot_px": max(60.0, STEP_PX * len(counts))}  # fmt: skip
    figure.update_layout(template=template(), bargap=0.25, meta=meta)
    figure.update_xaxes(title_text=escape(meta["x_title"]), rangemode="tozero", tickformat=",", nticks=5)
    figure.update_yaxes(range=[len(counts) - 0.5, -0.5])
    return fit(figure)
