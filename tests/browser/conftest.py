"""The real app in a real browser: one server on a workspace of the session's own, one Chromium, a context a visit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
START_S, SLOW_MS = 180, 300_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLOT = ".js-plotly-plot"
PROBED = re.compile(r"/[^/]+/_stcore/(health|host-config)$")
"""Streamlit's own front end looks for its server beside every page before it asks the root: two answers of 404."""


@dataclass
class App:
    """A running app: its address, its workspace and its process group."""

    address: str
    workspace: Path
    group: int

    def peak_gib(self) -> float:
        """The most memory that each of the app's processes has had, added up (Linux)."""
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                if os.getpgid(int(status.parent.name)) == self.group:
                    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
                    total += int(found[1]) if found else 0
        return total / 2**20


@dataclass
class Visit:
    """One browser context on the app. Requests that leave this machine are collected."""

    page: Page
    app: App
    strayed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a path of the app and wait for its first paint."""
        self.page.goto(path if path.startswith("http") else f"{self.app.address}{path}")
        expect(self.page.get_by_test_id("stHeading").first).to_be_visible(timeout=SLOW_MS)
        return self.page

    def plot(self, number: int = 0) -> Locator:
        """A figure, once it is drawn."""
        drawn = self.page.locator(PLOT).nth(number)
        expect(drawn.locator("svg.main-svg").first).to_be_visible(timeout=SLOW_MS)
        return drawn

    def click_cell(self, column: int, row: int, columns: int, number: int = 0) -> None:
        """Click a cell of a clickable heatmap, counted from its lower left corner."""
        square = self.plot(number).locator(".scatterlayer .point").nth(row * columns + column)
        expect(self.page.locator("[data-test-script-state=notRunning]")).to_be_attached(timeout=SLOW_MS)
        square.scroll_into_view_if_needed()
        box, before = square.bounding_box(), None
        # What is still arriving above the figure moves it: click where it has come to rest.
        while box is None or box != before:
            self.page.wait_for_timeout(300)
            before, box = box, square.bounding_box()
        self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def run(self) -> None:
        """Press Run and wait for the figure."""
        button = self.page.get_by_role("button", name="Run", exact=True)
        expect(button).to_be_enabled(timeout=SLOW_MS)
        button.click()
        expect(self.page).to_have_url(re.compile("run=[0-9a-f]{24}"), timeout=SLOW_MS)
        self.plot()

    def cell(self, text: str) -> Locator:
        """A cell of a table by its whole text. Tables are painted; their texts lie in the canvas for screen readers."""
        return self.page.locator("[role=gridcell]").filter(has_text=re.compile(f"^{re.escape(text)}$")).first

    def select_row(self, row: int) -> None:
        """Tick a row of the page's first table, which is painted on a canvas: the boxes are in its first 30 pixels."""
        box = self.page.get_by_test_id("data-grid-canvas").first.bounding_box()
        assert box is not None
        self.page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1.5))

    def shot(self, name: str, around: Locator | None = None) -> None:
        """Save a screenshot when INTERP_SCREENSHOTS names a folder; it is how the user guide gets its pictures."""
        folder = os.environ.get("INTERP_SCREENSHOTS")
        if not folder:
            return
        if around is not None:
            around.evaluate("element => element.scrollIntoView({block: 'start'})")
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(1500)
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(Path(folder) / f"{name}.png"))

    def check(self) -> None:
        """Nothing went wrong on the page, and nothing was fetched from elsewhere."""
        errors = self.page.get_by_test_id("stException").all_inner_texts()
        assert not errors, f"the page shows an exception: {errors[0]}"
        assert not self.strayed, f"the page asked for {self.strayed}"
        assert not self.refused, f"the page asked in vain for {self.refused}"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app, started as a user starts it, on an empty workspace that borrows the repository's converted model."""
    models = REPOSITORY / "workspace" / "models"
    if not models.is_dir():
        pytest.fail("the default model is not there; `make model` fetches it")
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "models").symlink_to(models)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = workspace / "app.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "interp", "app", "--port", str(port)],
            cwd=REPOSITORY, env=os.environ | {"INTERP_WORKSPACE": str(workspace)},
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _await(server, f"http://127.0.0.1:{port}", log)
        yield App(f"http://127.0.0.1:{port}", workspace, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _await(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"the app did not start; it said:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine."""
    found = next(filter(None, map(shutil.which, filter(None, (os.environ.get("BROWSER_PATH"), *NAMES)))), None)
    if found is None:
        pytest.fail("no Chromium: install the package 'chromium', or point BROWSER_PATH at one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(app: App, chromium: Browser) -> Iterator[Callable[[], Visit]]:
    """Opens visits; each is checked when the test ends."""
    visits: list[Visit] = []

    def new() -> Visit:
        context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        context.set_default_timeout(60_000)
        one = Visit(context.new_page(), app)

        def watch(request: Request) -> None:
            if not request.url.startswith((f"{app.address}/", "data:", "blob:")):
                one.strayed.append(request.url)

        def answered(response: Response) -> None:
            if response.status >= 400 and not PROBED.search(response.url):
                one.refused.append(f"{response.status} {response.url}")

        one.page.on("request", watch)
        one.page.on("response", answered)
        visits.append(one)
        return one

    expect.set_options(timeout=60_000)
    yield new
    for one in visits:
        one.check()
        one.page.context.close()
