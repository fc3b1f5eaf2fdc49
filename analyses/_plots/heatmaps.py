"""Heatmaps over layers (y, 0 at the bottom) and positions or heads (x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analyses._plots.fit import fit
from analyses._plots.fit_axes import BAR_PX
from analyses._plots.grids import Rectangle, as_floats, as_mask, drawable
from analyses._plots.theme import HIDDEN, SEQUENTIAL, SIGNED, TEXT_PX, TICK_PX, escape, template

HIDDEN_NOTE = "grey: not distinguishable from zero"
BLANK_NOTE = "blank: no finite value"
LENS_ROW_PX = 13.0
LOWEST_PX = 80.0
"""Height of a heatmap of a row or two: its colour bar keeps room for its numbers and its unit."""


def signed_heatmap(
    values: Rectangle,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    *,
    title: str,
    x_title: str,
    y_title: str,
    legend: str,
    unit: str,
    hidden: Rectangle | None = None,
    hidden_note: str = HIDDEN_NOTE,
    low: Rectangle | None = None,
    high: Rectangle | None = None,
    limit: float | None = None,
    x_hover: Sequence[str] | None = None,
) -> go.Figure:
    """Signed values, red below and blue above a white zero, over a range symmetric about it.

    ``values[y, x]`` in ``unit``; ``legend`` says what the colours mean and is printed on the figure, for example
    "blue: the patch moves the answer towards clean (recovery > 0)". Cells true in ``hidden`` are grey, with a note.
    ``low`` and ``high`` bound each value and appear in the hover. ``limit`` fixes the range, so that figures compare.
    Raises ValueError when the shapes or the labels disagree.
    """
    array = as_floats(values, shape=(len(y_labels), len(x_labels)))
    quiet = as_mask(hidden, "hidden", array.shape)
    hovers = hover_texts(array, x_hover or x_labels, y_labels, unit, low, high)
    extent = limit or float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))) or 1.0
    figure = go.Figure()
    figure.add_trace(_cells(drawable(array, quiet), hovers, SIGNED, (-extent, extent), unit, zmid=0.0))
    notes = [legend]
    if quiet.any():
        grey = np.where(quiet, 0.0, np.nan)
        figure.add_trace(go.Heatmap(
            z=drawable(grey), hovertext=hovers, hoverinfo="text", showscale=False, zmin=-1, zmax=1,
            colorscale=[[0, HIDDEN], [1, HIDDEN]], name="hidden"))  # fmt: skip
        notes.append(hidden_note)
    titles = {"title": title, "x_title": x_title, "y_title": y_title, "unit": unit}
    return _finish(figure, array, x_labels, y_labels, titles, notes)


def sequential_heatmap(
    values: Rectangle,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    *,
    title: str,
    x_title: str,
    y_title: str,
    unit: str,
    colours: str = "blues",
    legend: str = "",
    mask: Rectangle | None = None,
    limits: tuple[float, float] | None = None,
    upside_down: bool = False,
    x_hover: Sequence[str] | None = None,
) -> go.Figure:
    """Values that start at nothing (probability, attention in ``"blues"``; feature activations in ``"oranges"``).

    Cells true in ``mask`` are left white, as the upper triangle of attention is. The range is ``limits``, or from the
    smallest value (0 if none is negative) to the largest. ``upside_down`` puts row 0 on top, as attention is read.
    """
    array = as_floats(values, shape=(len(y_labels), len(x_labels)))
    away = as_mask(mask, "mask", array.shape)
    low, high = limits or _range(array[~away])
    hovers = hover_texts(array, x_hover or x_labels, y_labels, unit)
    figure = go.Figure(_cells(drawable(array, away), hovers, SEQUENTIAL[colours], (low, high), unit))
    notes = [legend] if legend else []
    shown = np.where(away, 0.0, array)
    titles = {"title": title, "x_title": x_title, "y_title": y_title, "unit": unit}
    done = _finish(figure, shown, x_labels, y_labels, titles, notes)
    return done.update_yaxes(range=[len(y_labels) - 0.5, -0.5]) if upside_down else done


def lens_table(
    probabilities: Rectangle,
    words: Sequence[Sequence[str]],
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    *,
    title: str,
    x_title: str = "position",
    y_title: str = "layer",
    unit: str = "probability",
    legend: str = "each cell: the most likely next token, shaded by its probability",
    limits: tuple[float, float] = (0.0, 1.0),
    x_hover: Sequence[str] | None = None,
) -> go.Figure:
    """A word in every cell (already glyphed) and its probability as the shade; words are elided to the cell's width."""
    array = as_floats(probabilities, shape=(len(y_labels), len(x_labels)))
    if [len(row) for row in words] != [array.shape[1]] * array.shape[0]:
        raise ValueError(f"words must have the shape of the probabilities, {array.shape}")
    hovers = hover_texts(array, x_hover or x_labels, y_labels, unit)
    hovers = [[f"{escape(word)}<br>{hover}" for word, hover in zip(*rows, strict=True)]
              for rows in zip(words, hovers, strict=True)]  # fmt: skip
    figure = go.Figure(_cells(drawable(array), hovers, SEQUENTIAL["blues"], limits, unit))
    meta = {"kind": "lens", "words": [list(row) for row in words], "row_px": LENS_ROW_PX,
            "plot_px": max(LOWEST_PX, LENS_ROW_PX * len(words))}  # fmt: skip
    titles = {"title": title, "x_title": x_title, "y_title": y_title, "unit": unit}
    return _finish(figure, array, x_labels, y_labels, titles, [legend] if legend else [], meta)


def colour_bar(unit: str) -> dict[str, Any]:
    """The colour bar beside a heatmap, its unit written along it."""
    return {
        "title": {"text": escape(unit), "side": "right", "font": {"size": TEXT_PX}},
        "thickness": BAR_PX,
        "len": 1,
        "y": 0.5,
        "x": 1,
        "xpad": 8,
        "ypad": 0,
        "outlinewidth": 0,
        "tickfont": {"size": TICK_PX},
        "nticks": 5,
    }


def _cells(
    z: list[list[float | None]],
    hovers: list[list[str]],
    scale: str,
    limits: tuple[float, float],
    unit: str,
    **more: Any,
) -> go.Heatmap:
    return go.Heatmap(z=z, hovertext=hovers, hoverinfo="text", colorscale=scale, zmin=limits[0], zmax=limits[1],
                      colorbar=colour_bar(unit), name="cells", **more)  # fmt: skip


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0))
    return low, high if high > low else low + 1.0


def hover_texts(
    array: np.ndarray,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    unit: str,
    low: Rectangle | None = None,
    high: Rectangle | None = None,
) -> list[list[str]]:
    """The hover text of every cell: where it is, its value, and its interval when there is one."""
    bounds = None
    if low is not None and high is not None:
        bounds = as_floats(low, "low", array.shape), as_floats(high, "high", array.shape)
    texts: list[list[str]] = []
    for y, row in enumerate(array):
        texts.append([])
        for x, value in enumerate(row):
            interval = "" if bounds is None else f" [{bounds[0][y, x]:.4g}, {bounds[1][y, x]:.4g}]"
            texts[-1].append(f"{escape(y_labels[y])}, {escape(x_labels[x])}<br>{value:.4g}{interval} {escape(unit)}")
    return texts


def _finish(
    figure: go.Figure,
    array: np.ndarray,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    titles: dict[str, str],
    notes: list[str],
    meta: dict[str, Any] | None = None,
) -> go.Figure:
    """Axes, template, and the layout rules that ``fit`` reads."""
    row_px = max(3.5, min(16.0, 360.0 / max(len(y_labels), 1)))
    blank = [] if np.isfinite(array).all() else [BLANK_NOTE]
    rules = {"kind": "axes", "row_px": row_px, "plot_px": max(LOWEST_PX, row_px * len(y_labels)), "bar": True}
    rules |= {"notes": notes + blank, "x_labels": list(x_labels), "y_labels": list(y_labels)} | titles | (meta or {})
    figure.update_layout(template=template(), meta=rules)
    figure.update_xaxes(title_text=escape(titles["x_title"]), range=[-0.5, len(x_labels) - 0.5])
    figure.update_yaxes(title_text=escape(titles["y_title"]), range=[-0.5, len(y_labels) - 0.5])
    return fit(figure)
