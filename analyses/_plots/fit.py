"""Laying a figure out for a given width: line breaks, label angles, how many labels fit, margins and height."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from analyses._plots.cell_words import told, write_cells
from analyses._plots.fit_axes import BAR_PX, fit_axes
from analyses._plots.fit_panels import fit_panels
from analyses._plots.fit_strip import fit_strip
from analyses._plots.graph_fit import fit_graph, magnify_graph
from analyses._plots.theme import PIXELS_PER_INCH, QUIET, SMALL_PX, TEXT_PX, TICK_PX, TITLE_PX, WIDTHS_IN, escape, wrap
from analyses._plots.words import with_minus

PAD = 6.0
"""White space around the whole figure, in pixels."""
LAYOUTS = {"panels": fit_panels, "strip": fit_strip, "graph": fit_graph}


def fit(figure: go.Figure, width_px: float | None = None, scale: float = 1.0) -> go.Figure:
    """A copy of ``figure`` laid out for ``width_px`` CSS pixels (two columns of print by default).

    ``scale`` enlarges every letter, for screens: ``fit(figure, 1000, scale=1.3)``. The data stay as they are;
    a figure not made by our builders only has its width set.
    """
    copy = go.Figure(figure)
    width = float(width_px or WIDTHS_IN["two-column"] * PIXELS_PER_INCH)
    meta: dict[str, Any] = copy.layout.meta if isinstance(copy.layout.meta, dict) else {}
    if "kind" not in meta:
        return copy.update_layout(width=width)
    # Laid out at width/scale with ordinary letters, then every length multiplied: one rule for paper and screen.
    top = _heading(copy, meta, width / scale)
    {"panels": fit_panels, "strip": fit_strip, "graph": fit_graph}.get(meta["kind"], fit_axes)(
        copy, meta, width / scale, top
    )
    if meta["kind"] == "lens":
        write_cells(copy, meta, width / scale)
    _magnify(copy, scale)
    if meta["kind"] == "graph":
        magnify_graph(copy, scale)
    return copy.update_layout(width=width)


def _heading(figure: go.Figure, meta: dict[str, Any], width: float) -> float:
    """Write the title and, under it, the legend of signs and the notes; return the height they need in pixels."""
    room = width - 2 * PAD
    title = wrap(with_minus(meta["title"]), room, TITLE_PX)
    said = [*meta.get("notes", []), *(told(meta, width) if meta["kind"] == "lens" else [])]
    notes = [line for note in said for line in wrap(with_minus(note), room, TEXT_PX)]
    small = f"<span style='font-size:{TEXT_PX}px;color:{QUIET}'>"
    text = "<br>".join([*map(escape, title), *(f"{small}{escape(line)}</span>" for line in notes)])
    figure.update_layout(
        title={
            "text": text,
            "font": {"size": TITLE_PX},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            # Plotly lifts a title of several lines by about half a line.
            "pad": {"l": PAD, "t": PAD + (7 if "<br>" in text else 0)},
        }
    )
    # Plotly advances every line by 1.3 of the title's size, whatever the size of the span on it.
    return PAD + (len(title) + len(notes)) * 1.3 * TITLE_PX + 4


def _magnify(figure: go.Figure, scale: float) -> None:
    """Multiply what was just laid out; what no width changes is set outright, so that fitting can be repeated."""
    layout = figure.layout
    layout.height *= scale
    for side in ("l", "r", "t", "b"):
        layout.margin[side] *= scale
    layout.font.size = TEXT_PX * scale
    layout.title.font.size *= scale
    layout.title.pad = {side: layout.title.pad[side] * scale for side in ("l", "t")}
    layout.title.text = layout.title.text.replace(f"font-size:{TEXT_PX}px", f"font-size:{TEXT_PX * scale}px")
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        axis.tickfont.size = (axis.tickfont.size or SMALL_PX) * scale
        axis.title.font.size = TEXT_PX * scale
    for note in layout.annotations:
        note.font.size = (note.font.size or TEXT_PX) * scale
        note.update(xshift=(note.xshift or 0) * scale, yshift=(note.yshift or 0) * scale)
    for trace in figure.data:
        if trace.type == "heatmap":
            if trace.colorbar.thickness:
                _magnify_bar(trace.colorbar, scale)
            if trace.textfont.size:
                trace.textfont.size *= scale
        elif trace.type == "bar" and trace.text is not None:
            trace.textfont.size = TICK_PX * scale
    if layout.coloraxis.colorbar.thickness:
        _magnify_bar(layout.coloraxis.colorbar, scale)


def _magnify_bar(bar: Any, scale: float) -> None:
    bar.update(thickness=BAR_PX * scale, tickfont={"size": TICK_PX * scale}, title={"font": {"size": TEXT_PX * scale}})
