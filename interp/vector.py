"""Making Plotly's SVG fit for print: heatmaps as rectangles, not bitmaps; ids that do not change; size in inches."""

from __future__ import annotations

import base64
import io
import re
from itertools import groupby

import numpy as np
from PIL import Image

MOST_CELLS = 60_000
"""Bitmaps with more pixels than this stay bitmaps, so that a file remains one that programs can open."""

OVERLAP = 0.3
"""Pixels by which a cell reaches under its right and lower neighbour; otherwise viewers show hairlines between them."""

_IMAGE = re.compile(r"<image\b[^>]*?/>")


def print_ready(svg: bytes, width_px: float, height_px: float) -> bytes:
    """The drawing with vector heatmaps, reproducible ids and its size stated in inches (96 px to the inch)."""
    text = _IMAGE.sub(lambda found: _cells(found[0]), svg.decode("utf-8"))
    size = f'width="{width_px / 96:g}in" height="{height_px / 96:.6g}in"'
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', rf"\1 {size}", text, count=1)
    return _stable_ids(text).encode("utf-8")


def _cells(tag: str) -> str:
    """Rectangles for the pixels of a heatmap's bitmap, runs of one colour merged; other images stay as they are."""
    source = re.search(r'href="data:image/png;base64,([^"]*)"', tag)
    if source is None or "pixelated" not in tag:
        return tag
    picture = Image.open(io.BytesIO(base64.b64decode(source[1]))).convert("RGBA")
    columns, rows = picture.size
    if columns * rows > MOST_CELLS:
        return tag
    x0, y0, width, height = (_number(tag, name) for name in ("x", "y", "width", "height"))
    across, down = width / columns, height / rows
    pixels = [tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 4).tolist()]
    shapes = []
    for row in range(rows):
        line, below = pixels[row * columns : (row + 1) * columns], pixels[(row + 1) * columns : (row + 2) * columns]
        start = 0
        for colour, run in groupby(line):
            end = start + len(list(run))
            if colour[3]:
                more_x = OVERLAP if end < columns and line[end][3] else 0.0
                more_y = OVERLAP if below and all(pixel[3] for pixel in below[start:end]) else 0.0
                box = (x0 + start * across, y0 + row * down, (end - start) * across + more_x, down + more_y)
                shapes.append(_rectangle(box, colour))
            start = end
    return f'<g shape-rendering="crispEdges">{"".join(shapes)}</g>'


def _rectangle(box: tuple[float, float, float, float], colour: tuple[int, ...]) -> str:
    x, y, width, height = (f"{length:.3f}".rstrip("0").rstrip(".") for length in box)
    veil = f' fill-opacity="{colour[3] / 255:.3f}"' if colour[3] < 255 else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#{bytes(colour[:3]).hex()}"{veil}/>'


def _number(tag: str, name: str) -> float:
    found = re.search(rf'\s{name}="([-\d.e]+)"', tag)
    return float(found[1]) if found else 0.0


def _stable_ids(text: str) -> str:
    """Plotly draws a random six-letter name for each drawing; write ``figure`` for it wherever it is used."""
    found = re.search(r'<defs id="defs-([0-9a-f]{6})"', text)
    if found is None:
        return text
    used = rf'(\bid="|\bclass="|url\(["\']?#|href="#|url\(&quot;#)([^"&)\']*?){found[1]}'
    return re.sub(used, r"\1\2figure", text)
