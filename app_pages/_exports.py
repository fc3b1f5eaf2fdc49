"""Take it with you: the picture and its numbers as files, each with the recipe that made it."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from analyses._contract import Analysis
from analyses._plots import WIDTHS_IN
from app_pages._bench import tell
from app_pages._form import one_of
from app_pages._state import State
from hooks.errors import InputError
from interp.drawing import find_browser
from interp.runs import Run

PICTURES = ("svg", "pdf", "png", "html")
DRAWN = ("svg", "pdf", "png")
TABLES = ("csv", "parquet")
MIME = {
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "html": "text/html",
    "zip": "application/zip",
}


def exports(state: State, analysis: Analysis, figure: str, run: Callable[[], Run]) -> None:
    """One button a format; a file is made when its button is clicked, and `run` is asked for only then."""
    width = one_of(
        state,
        f"width {figure}",
        "Figure width",
        list(WIDTHS_IN),
        str(state.get("width", "two-column")),
        format_func=lambda name: f"{name}, {WIDTHS_IN[name]:g} in",
        help="the exact width on paper; text keeps its size in points",
    )
    state.set("width", width)
    drawable = _browser_there()
    problems: list[BaseException] = st.session_state.setdefault("export problems", [])
    if problems:
        tell(problems.pop())
    columns = st.columns(len(PICTURES) + len(TABLES))
    for column, suffix in zip(columns, (*PICTURES, *TABLES), strict=True):
        archive = suffix in TABLES and len(analysis.columns) > 1
        column.download_button(
            f"{suffix.upper()} (zip)" if archive else suffix.upper(),
            _maker(run, figure, suffix, width, archive, problems),
            file_name=f"{analysis.name}-{figure}{'-' if archive else '.'}{suffix}{'.zip' if archive else ''}",
            mime=MIME.get("zip" if archive else suffix, "application/octet-stream"),
            key=state.key(f"export {figure} {suffix}"),
            on_click="ignore",
            disabled=suffix in DRAWN and not drawable,
            icon=":material/download:",
            width="stretch",
        )
    st.caption(
        "The recipe travels with every file: `interp rerun FILE` makes it again and compares. "
        "The first picture of a session takes some seconds, while a browser is started to draw it."
    )


def _browser_there() -> bool:
    """Whether pictures can be drawn; what to install is said when they cannot."""
    try:
        find_browser()
    except InputError as error:
        tell(error)
        return False
    return True


def _maker(
    run: Callable[[], Run], figure: str, suffix: str, width: str, archive: bool, problems: list[BaseException]
) -> Callable[[], io.BytesIO]:
    """What the button's click calls, in a thread of its own; a problem is kept for the page to tell."""

    def make() -> io.BytesIO:
        try:
            return _made(run(), figure, suffix, width, archive)
        except Exception as error:
            problems.append(error)
            raise

    return make


def _made(run: Run, figure: str, suffix: str, width: str, archive: bool) -> io.BytesIO:
    with tempfile.TemporaryDirectory() as folder:
        run.export(Path(folder) / f"{run.analysis.name}.{suffix}", figure, width)
        files = sorted(Path(folder).iterdir())
        if not archive:
            return io.BytesIO(next(f for f in files if f.suffix == f".{suffix}").read_bytes())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
            for file in files:
                bundle.write(file, file.name)
        return io.BytesIO(packed.getvalue())
