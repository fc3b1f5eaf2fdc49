"""Figures and frames to files, each with the recipe that made it, written whole or not at all."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from analyses._plots import WIDTHS_IN, fit
from analyses._plots.theme import PIXELS_PER_INCH
from hooks.errors import InputError, unknown
from interp.drawing import draw, print_pdf
from interp.embed import (
    DOTS_PER_INCH,
    FORMATS,
    embed_html,
    embed_pdf,
    embed_png,
    embed_svg,
    parquet_bytes,
    read_recipe,
    sidecar,
)
from interp.recipe import frame_digest, to_json
from interp.vector import print_ready

__all__ = ["export_figure", "export_frames", "figure_bytes", "read_recipe"]

PICTURES = (".svg", ".pdf", ".png", ".html")
DEFAULT_HEIGHT_PX = 360.0


def export_figure(
    figure: go.Figure | None,
    path: Path,
    recipe: Mapping[str, Any],
    frames: Mapping[str, pd.DataFrame],
    *,
    width: str = "two-column",
) -> Path:
    """Write the figure (.svg .pdf .png .html) or its frames (.csv .parquet) to ``path``; return what was written.

    ``width`` is "one-column" (3.25 in), "two-column" (6.75 in) or "page" (9 in) and exact. Missing folders are made, a
    file already there is replaced only once the new one is complete. Several frames make several tables, see
    :func:`export_frames`; the first one's path is returned. ``figure`` may be None for tables.
    """
    path = Path(path)
    suffix = export_format(path)
    if suffix not in PICTURES:
        return export_frames(frames, path, recipe)[0]
    if figure is None:
        raise InputError(f"{path}: there is no figure to draw; frames are exported as .csv or .parquet")
    _write({path: figure_bytes(figure, suffix, recipe, width=width)})
    return path


def figure_bytes(figure: go.Figure, suffix: str, recipe: Mapping[str, Any], *, width: str = "two-column") -> bytes:
    """The content of an exported picture (``suffix`` .svg .pdf .png .html), recipe inside, for a download button.

    The same figure and recipe give the same bytes with the same browser and libraries.
    """
    if width not in WIDTHS_IN:
        raise unknown("figure width", width, WIDTHS_IN)
    if suffix not in PICTURES:
        raise unknown("picture format", suffix, PICTURES)
    laid = _laid_out(figure, WIDTHS_IN[width] * PIXELS_PER_INCH)
    across, tall = float(laid.layout.width), float(laid.layout.height)
    if suffix == ".html":
        return embed_html(_html(laid), recipe)
    if suffix == ".png":
        scale = DOTS_PER_INCH / PIXELS_PER_INCH
        return embed_png(_exact(draw(laid.to_dict(), "png", across, tall, scale), across, tall), recipe)
    svg = print_ready(draw(laid.to_dict(), "svg", across, tall), across, tall)
    return embed_svg(svg, recipe) if suffix == ".svg" else embed_pdf(print_pdf(svg, across, tall), recipe)


def export_frames(frames: Mapping[str, pd.DataFrame], path: Path, recipe: Mapping[str, Any]) -> list[Path]:
    """Write frames as .csv (each with ``name.csv.recipe.json`` beside it) or .parquet (recipe inside).

    One frame becomes ``path`` itself, several ``name.FRAME.csv``. CSV numbers are written with every digit they need
    to be read back exactly.
    """
    path = Path(path)
    suffix = export_format(path)
    if suffix not in FORMATS or suffix in PICTURES:
        raise unknown("table format", suffix, (".csv", ".parquet"))
    if not frames:
        raise InputError(f"{path}: there are no frames to export")
    files: dict[Path, bytes] = {}
    tables = []
    for name, frame in frames.items():
        target = path if len(frames) == 1 else path.with_name(f"{path.stem}.{name}{path.suffix}")
        tables.append(target)
        if suffix == ".parquet":
            files[target] = parquet_bytes(frame, recipe)
        else:
            files[sidecar(target)] = to_json(recipe).encode("ascii")
            files[target] = frame.to_csv(index=False, lineterminator="\n").encode("utf-8", "surrogatepass")
    _write(files)
    return tables


def export_format(path: Path) -> str:
    """The format a path asks for by its ending. Raises InputError offering those there are."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise unknown("export format", suffix or path.name, FORMATS)
    return suffix


def _laid_out(figure: go.Figure, width_px: float) -> go.Figure:
    laid = fit(figure, width_px)
    # Eight pixels are 25 dots at 300 to the inch, the steps in which Chromium sizes a page: PDF and PNG come out exact.
    laid.update_layout(width=round(width_px), height=8 * math.ceil((laid.layout.height or DEFAULT_HEIGHT_PX) / 8))
    for place, trace in enumerate(laid.data):
        # Plotly names gradients after a trace's uid, and makes up a random one where there is none.
        trace.uid = f"trace{place}"
    return laid


def _exact(png: bytes, width_px: float, height_px: float) -> bytes:
    """The PNG, refused if the browser did not draw it at the size that makes it exact in inches."""
    wanted = tuple(round(length * DOTS_PER_INCH / PIXELS_PER_INCH) for length in (width_px, height_px))
    with Image.open(io.BytesIO(png)) as image:
        got = image.size
    if any(abs(a - b) > 1 for a, b in zip(got, wanted, strict=True)):
        raise InputError(f"the browser drew {got[0]}×{got[1]} pixels where {wanted[0]}×{wanted[1]} were asked for")
    return png


def _html(figure: go.Figure) -> bytes:
    """A page which holds everything it needs; its element is named after the data, not at random."""
    name = "figure-" + frame_digest(pd.DataFrame({"figure": [figure.to_json()]}))[:12]
    page: str = figure.to_html(
        include_plotlyjs=True,
        include_mathjax=False,
        full_html=True,
        div_id=name,
        config={"displaylogo": False, "showSendToCloud": False},
    )
    return page.encode("utf-8")


def _write(files: Mapping[Path, bytes]) -> None:
    """Write every file under a temporary name first, then put each in its place; on failure nothing is left behind."""
    drafts: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[path] = path.with_name(f".{path.name}.{os.getpid()}.part")
            with open(drafts[path], "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            os.replace(draft, path)
    except OSError as problem:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        where = problem.filename or next(iter(files))
        raise InputError(f"cannot write {next(iter(files))}: {problem.strerror or problem} ({where})") from problem
