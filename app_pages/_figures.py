"""Figures on a screen: laid out for it, and with cells that can be clicked."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from analyses._plots import click_overlay, fit

SCREEN_PX, BESIDE_PX, SCALE = 1060.0, 780.0, 1.3
FRAME = "#E69F00"
UNSEEN = 0.002
_CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False}
Cell = tuple[int, int]


def draw(figure: go.Figure, key: str, width_px: float = SCREEN_PX) -> None:
    """A figure to look at and hover over."""
    st.plotly_chart(fit(figure, width_px, SCALE), theme=None, width="content", key=key, config=_CONFIG)


def clickable(
    figure: go.Figure,
    key: str,
    chosen: Cell | None,
    width_px: float = SCREEN_PX,
    panel: int | None = None,
    labels_right: bool = False,
) -> tuple[int, Cell] | None:
    """A heatmap whose cells can be clicked, with the chosen (column, row) framed.

    `panel` says which of several heatmaps is framed, as a whole when there is no chosen cell.
    `labels_right` repeats the row labels at the right, for a picture wider than the screen.
    Returns (heatmap, (column, row)) of a click that has not been returned before, or None.
    """
    laid = fit(figure, width_px, SCALE)
    if labels_right:
        laid = _labelled_right(laid)
    overlaid = _framed(click_overlay(laid), len(laid.data), chosen, panel).update_layout(hoverdistance=-1)
    event = st.plotly_chart(
        overlaid, theme=None, width="content", key=key, config=_CONFIG, on_select="rerun", selection_mode="points"
    )
    points = event["selection"]["points"]
    found = next((p for p in points if p.get("customdata")), None)
    memory: dict[str, Any] = st.session_state.setdefault("clicks", {})
    clicked = None if found is None else (int(found["curve_number"]), tuple(int(n) for n in found["customdata"][:2]))
    if clicked is None or clicked == memory.get(key):
        memory[key] = clicked
        return None
    memory[key] = clicked
    return clicked[0] - len(laid.data), (clicked[1][0], clicked[1][1])


def _labelled_right(figure: go.Figure) -> go.Figure:
    """The row labels once more between the cells and the colour bar."""
    axis = figure.layout.yaxis
    for place, text in zip(axis.tickvals, axis.ticktext, strict=True):
        figure.add_annotation(text=text, x=1, xref="paper", y=place, yref="y", xanchor="left", showarrow=False,
                              font={"size": axis.tickfont.size}, borderpad=0, xshift=2)  # fmt: skip
    room = max(len(text) for text in axis.ticktext) * 0.6 * axis.tickfont.size
    figure.data[0].colorbar.xpad = 8 + room
    figure.layout.margin.r += room
    return figure.update_layout(width=figure.layout.width + room)


def _framed(figure: go.Figure, heatmaps: int, chosen: Cell | None, panel: int | None) -> go.Figure:
    """The figure with a frame around the chosen cell, or around a whole panel; the squares to click stay unseen."""
    for squares in figure.data[heatmaps:]:
        squares.marker.opacity = squares.selected.marker.opacity = squares.unselected.marker.opacity = UNSEEN
    trace = figure.data[heatmaps + (panel or 0)]
    axes = {"xref": trace.xaxis or "x", "yref": trace.yaxis or "y"}
    line = {"color": FRAME, "width": 3}
    if chosen is not None:
        column, row = chosen
        sides = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", **sides, **axes, line=line)
    elif panel is not None:
        axes = {side: f"{axis} domain" for side, axis in axes.items()}
        figure.add_shape(type="rect", x0=0, x1=1, y0=0, y1=1, **axes, line=line)
    return figure


def cell_at(figure: go.Figure, cell: Cell) -> tuple[str, str]:
    """The labels (column, row) of a cell of one of our heatmaps."""
    meta = figure.layout.meta
    return str(meta["x_labels"][cell[0]]), str(meta["y_labels"][cell[1]])
