"""Words written in the cells of a lens table: cut to the cell's width, and dark or light as the cell's shade asks."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analyses._plots.fit_axes import sides
from analyses._plots.theme import SMALL_PX, TICK_PX, escape, ink
from analyses._plots.tokens import VISIBLE, elide

FEWEST, FEW = 3, 5
"""With room for fewer than FEWEST letters a cell shows no word; up to FEW, leading spaces give way to letters."""

WORDLESS = "the words do not fit this width and are left out; the data have them"
CUT = "words are cut to their cells, leading spaces (␣) first; the data have them whole"
LETTER_EM = 0.55
SPACE = VISIBLE[" "]


def write_cells(figure: go.Figure, meta: dict[str, Any], width: float) -> None:
    """Write each cell's word as far as it fits; leave all words out where a few letters would not."""
    letters, font = room(meta, width)
    cells = figure.data[0]
    if letters < FEWEST:
        cells.update(text=None, texttemplate=None)
        return
    text = [
        [_coloured(escape(shortened(word, letters)), colour) for word, colour in zip(*rows, strict=True)]
        for rows in zip(meta["words"], _inks(cells), strict=True)
    ]
    cells.update(text=text, texttemplate="%{text}", textfont={"size": font, "color": "#000000"})


def told(meta: dict[str, Any], width: float) -> list[str]:
    """What the figure says about its words at this width."""
    letters, _ = room(meta, width)
    if letters < FEWEST:
        return [WORDLESS]
    cut = letters <= FEW and any(len(word) > letters for row in meta["words"] for word in row)
    return [CUT] if cut else []


def room(meta: dict[str, Any], width: float) -> tuple[int, float]:
    """How many letters fit a cell of a lens table this wide, and their size in px: smaller where that lets more in."""
    left, right = sides(meta)
    each = (width - left - right) / max(len(meta["x_labels"]), 1)
    largest = min(TICK_PX, meta["row_px"] * 0.8)
    for font in (largest, SMALL_PX):
        letters = int((each - 1.5) / (LETTER_EM * font))
        if letters > FEW:
            break
    return letters, min(font, largest)


def shortened(word: str, letters: int) -> str:
    """The word within `letters` letters, an ellipsis at its end when it is cut."""
    few = letters <= FEW and len(word) > letters
    return elide(word.lstrip(SPACE) or word if few else word, letters)


def _inks(cells: go.Heatmap) -> list[list[str]]:
    """Black or white for every cell, by the shade that lies under its word."""
    low, high = cells.zmin, cells.zmax
    shades = [[0.0 if z is None else min(max((z - low) / (high - low), 0.0), 1.0) for z in row] for row in cells.z]
    scale = [list(stop) for stop in cells.colorscale]
    return [[ink(colour) for colour in sample_colorscale(scale, row)] for row in shades]


def _coloured(word: str, colour: str) -> str:
    """Plotly has one colour for all of a heatmap's words: the light ones carry their own."""
    return word if colour == "#000000" else f"<span style='color:{colour}'>{word}</span>"
