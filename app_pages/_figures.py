"""Figures on a screen: laid out for it, and with cells that can be clicked."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from analyses._plots import click_overlay, fit

SCREEN_PX, SCALE = 1060.0, 1.3
_CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False}
Cell = tuple[int, int]


def draw(figure: go.Figure, key: str, width_px: float = SCREEN_PX) -> None:
    """A figure to look at and hover over."""
    st.plotly_chart(fit(figure, width_px, SCALE), theme=None, width="content", key=key, config=_CONFIG)


def clickable(figure: go.Figure, key: str, chosen: Cell | None, width_px: float = SCREEN_PX) -> Cell | None:
    """A heatmap whose cells can be clicked, with the chosen (column, row) framed; returns the cell just clicked, or None.

    The figure stays the same, byte for byte, when the click itself moved the frame: a changed one forgets its selection.
    """
    memory: dict[str, Any] = st.session_state.setdefault("clicks", {}).setdefault(key, {"seed": chosen, "clicked": None})
    shown = memory["clicked"] or memory["seed"]
    if chosen != shown:
        memory.update(seed=chosen, clicked=None)
    overlaid = _framed(click_overlay(fit(figure, width_px, SCALE)), memory["seed"])
    event = st.plotly_chart(
        overlaid, theme=None, width="content", key=key, config=_CONFIG, on_select="rerun", selection_mode="points"
    )
    points = event["selection"]["points"]
    found = next((p["customdata"] for p in points if p.get("customdata")), None)
    cell = (int(found[0]), int(found[1])) if found else None
    if cell is None or cell == memory["clicked"]:
        return None
    memory["clicked"] = cell
    return cell


def _framed(figure: go.Figure, chosen: Cell | None) -> go.Figure:
    """The overlay's squares as frames that show once they are chosen."""
    for trace in figure.data:
        if trace.type == "scatter" and trace.customdata is not None:
            at = [i for i, cell in enumerate(trace.customdata) if chosen and tuple(cell[:2]) == chosen]
            trace.marker.update(symbol="square-open", line={"width": 2.5, "color": "#111111"})
            trace.selected.marker.opacity = 1
            trace.selectedpoints = at or None
    return figure


def cell_at(figure: go.Figure, cell: Cell) -> tuple[str, str]:
    """The labels (column, row) of a cell of one of our heatmaps."""
    meta = figure.layout.meta
    return str(meta["x_labels"][cell[0]]), str(meta["y_labels"][cell[1]])
