"""The click layer for pages: invisible squares over a heatmap, because Streamlit reports clicks on points only."""

from __future__ import annotations

import plotly.graph_objects as go


def click_overlay(figure: go.Figure) -> go.Figure:
    """A copy of ``figure`` with one nearly transparent square on every drawn heatmap cell.

    The squares carry ``customdata = [x index, y index]`` (column and row of the cell, counted from 0) and the cell's
    own hover text. For pages only: exports are made from the figure without it.
    """
    copy = go.Figure(figure)
    size = _marker_px(figure)
    for trace in figure.data:
        if trace.type == "heatmap" and trace.z is not None:
            copy.add_trace(_squares(trace, size))
    copy.update_layout(clickmode="event+select", dragmode=False, hovermode="closest")
    return copy


def _squares(trace: go.Heatmap, size: float) -> go.Scatter:
    rows, columns = len(trace.z), len(trace.z[0]) if len(trace.z) else 0
    cells = [(x, y) for y in range(rows) for x in range(columns) if trace.z[y][x] is not None]
    hovers = [trace.hovertext[y][x] for x, y in cells] if trace.hovertext is not None else None
    return go.Scatter(
        x=[x for x, _ in cells],
        y=[y for _, y in cells],
        customdata=[[x, y] for x, y in cells],
        hovertext=hovers,
        hoverinfo="none" if hovers is None else "text",
        mode="markers",
        marker={"symbol": "square", "size": size, "color": "#000000", "opacity": 0.02, "line": {"width": 0}},
        selected={"marker": {"opacity": 0.02}},
        unselected={"marker": {"opacity": 0.02}},
        xaxis=trace.xaxis,
        yaxis=trace.yaxis,
        name=trace.name or "cells",
        showlegend=False,
    )


def _marker_px(figure: go.Figure) -> float:
    """About one row high, so that neighbouring squares do not hide one another."""
    meta = figure.layout.meta or {}
    return float(max(6.0, min(24.0, meta.get("row_px", 16.0))))
