"""Pictures whose cells can be clicked, and what an analysis says about the chosen one."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import streamlit as st

from app_pages import _graph
from app_pages._figures import Cell, cell_at, clickable, draw
from app_pages._state import State
from app_pages._text import plain
from hooks.model import Model
from interp.runs import Run


def picture(state: State, model: Model | None, run: Run, name: str, figure: go.Figure) -> None:
    """A figure, a graph with its clicked node beside it; one heatmap whose analysis has `detail` with the chosen cell's
    rows below it.
    """
    detail = run.analysis.detail
    if _graph.is_graph(figure):
        _graph.picture(state, model, run, name, figure)
        return
    if detail is None or not isinstance(figure.data[0], go.Heatmap):
        draw(figure, state.key(f"figure {name}"))
        return
    chosen = chosen_cell(state, name, figure)
    clicked = clickable(figure, state.key(f"heatmap {run.key} {name}"), chosen)
    if clicked is not None:
        state.set("cell", f"{name}:{clicked[1][0]},{clicked[1][1]}")
        st.rerun()
    if chosen is None:
        st.caption(":material/ads_click: Click a cell to see what lies behind it.")
        return
    column, row = cell_at(figure, chosen)
    meta = figure.layout.meta
    st.markdown(f"**{plain(meta['x_title'])} {plain(column)}, {plain(meta['y_title'])} {plain(row)}**")
    table = detail(run.frames, run.spec, name, column, row)
    if table is None or table.empty:
        st.caption("Nothing was tried here.")
    else:
        st.dataframe(table, hide_index=True, width="stretch")


def chosen_cell(state: State, name: str, figure: go.Figure) -> Cell | None:
    """The chosen cell of this picture. One that no picture can have is forgotten, and that is noted."""
    asked, meta = str(state.get("cell", "")), figure.layout.meta
    columns, rows = len(meta["x_labels"]), len(meta["y_labels"])
    found = re.fullmatch(r"(\w+):(\d+),(\d+)", asked)
    if found and found[1] != name:
        return None
    if found and int(found[2]) < columns and int(found[3]) < rows:
        return int(found[2]), int(found[3])
    if asked:
        valid = f"{name}:COLUMN,ROW with columns 0 to {columns - 1} and rows 0 to {rows - 1}"
        state.note("cell", None, f"cell {asked!r} is not in the picture; valid: {valid}")
        state.set("cell", None)
    return None
