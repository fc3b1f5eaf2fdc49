"""From a figure to SVG, PDF or PNG bytes: one Chromium kept alive per process, offline, usable from several threads."""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hooks.errors import InputError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120.0
"""How long one drawing may take, the first one's start of the browser included."""

NOWHERE = "127.0.0.1:9"
"""A proxy nobody listens on: whatever asked for the network, the browser could not reach it. Local files need none."""

_lock = threading.Lock()
_live: dict[int, _Browser] = {}


def find_browser() -> str:
    """The Chromium to draw with: ``BROWSER_PATH``, else the first of the usual names on PATH, else InputError."""
    chosen = os.environ.get("BROWSER_PATH", "")
    if chosen:
        if os.access(chosen, os.X_OK) and Path(chosen).is_file():
            return chosen
        raise InputError(f"BROWSER_PATH={chosen!r} is not a program; set it to a Chromium or Chrome, or unset it")
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise InputError(
        "SVG, PDF and PNG need a Chromium or Chrome, and none is on PATH: install Debian's `chromium` package "
        "(or Google Chrome), or set BROWSER_PATH to it. HTML, CSV and Parquet need none"
    )


def draw(figure: dict[str, Any], kind: str, width: float, height: float, scale: float = 1.0) -> bytes:
    """The figure (as a Plotly dict) as ``kind`` svg or png, ``width`` × ``height`` CSS pixels, times ``scale`` for PNG.

    InputError if there is no browser, or if it cannot draw.
    """
    options = {"format": kind, "width": width, "height": height, "scale": scale}
    return _with_browser(lambda live: live.kaleido.calc_fig(figure, opts=options))


def print_pdf(svg: bytes, width: float, height: float) -> bytes:
    """An SVG as a one-page PDF of exactly ``width`` × ``height`` CSS pixels (96 to the inch), vectors kept."""
    return _with_browser(lambda live: live.print_pdf(svg.decode("utf-8"), width, height))


def close_browser() -> None:
    """End this process's browser; the next drawing starts another."""
    with _lock:
        live = _live.pop(os.getpid(), None)
    if live is not None:
        live.close()


def _with_browser(job: Callable[[_Browser], Coroutine[Any, Any, bytes]]) -> bytes:
    path = find_browser()
    for last in (False, True):
        try:
            return _browser(path).run(job)
        except InputError:
            raise
        except Exception as problem:
            # A browser that died since the last drawing is replaced once; a second failure is reported.
            close_browser()
            if last:
                reason = str(problem.args[0]) if problem.args else type(problem).__name__
                raise InputError(f"{path} could not draw the figure: {reason}") from problem
    raise AssertionError("unreachable")


def _browser(path: str) -> _Browser:
    with _lock:
        live = _live.get(os.getpid())
        if live is None or live.path != path:
            if live is not None:
                live.close()
            # Keyed by process: a forked child shares neither our thread nor the pipe to the browser.
            live = _live[os.getpid()] = _Browser(path)
        return live


class _Browser:
    """A Kaleido on an event loop in a thread of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="figure export", daemon=True)
        self._thread.start()
        try:
            self.kaleido: Any = self._wait(self._open())
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise
        atexit.register(self.close)

    async def _open(self) -> Any:
        import kaleido  # heavy, and only exports of pictures need it

        # Without MathJax no script comes from outside, and Kaleido's plotly.js is the installed Plotly's own.
        browser = kaleido.Kaleido(n=1, timeout=SECONDS, mathjax=False, path=self.path, proxy_server=NOWHERE)
        try:
            await browser.open()
        except BaseException:
            await browser.close()
            raise
        return browser

    def run(self, job: Callable[[_Browser], Coroutine[Any, Any, bytes]]) -> bytes:
        return self._wait(job(self))

    def _wait(self, work: Coroutine[Any, Any, Any], seconds: float = SECONDS) -> Any:
        task = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return task.result(seconds)
        except TimeoutError:
            task.cancel()
            raise

    async def print_pdf(self, svg: str, width: float, height: float) -> bytes:
        """Print the drawing from a tab of its own; Kaleido's own PDF rounds the page and keeps heatmaps as bitmaps."""
        tab = await self.kaleido.create_tab(url="about:blank")
        try:
            frame = await _ask(tab, "Page.getFrameTree")
            style = f"@page{{size:{width}px {height}px;margin:0}}body{{margin:0}}svg{{display:block}}"
            page = f"<!doctype html><html><head><style>{style}</style></head><body>{svg}</body></html>"
            await _ask(tab, "Page.setDocumentContent", frameId=frame["frameTree"]["frame"]["id"], html=page)
            printed = await _ask(
                tab, "Page.printToPDF", printBackground=True, paperWidth=width / 96, paperHeight=height / 96,
                marginTop=0, marginBottom=0, marginLeft=0, marginRight=0, pageRanges="1")  # fmt: skip
            return base64.b64decode(printed["data"])
        finally:
            await tab.close()

    def close(self) -> None:
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            return
        # If the browser has gone already there is nothing left to end.
        with contextlib.suppress(Exception):
            self._wait(self.kaleido.close(), 10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


async def _ask(tab: Any, command: str, **parameters: Any) -> dict[str, Any]:
    answer = await tab.send_command(command, params=parameters)
    if "error" in answer:
        raise RuntimeError(f"{command}: {answer['error']}")
    return dict(answer["result"])
