"""SVG, PDF and PNG through the real Chromium: exact sizes, vectors, the recipe inside, the same bytes twice."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import numpy as np
import pypdf
import pytest
from PIL import Image

from analyses._plots import WIDTHS_IN, signed_heatmap, token_labels
from hooks.errors import InputError
from interp import drawing
from interp.embed import read_recipe
from interp.export import export_figure, figure_bytes
from interp.recipe import build_recipe

RECIPE = build_recipe(
    workbench="0.1.0", analysis="a", analysis_version=1, figure="f", model={}, inputs={"p": "]]> </script> 日本"},
    spec={}, checks={}, run="k", command="interp run a", frames={}, created="2026-11-21T04:00:00+00:00",
)  # fmt: skip
LABELS = token_labels([" John", "<|im_start|>", "\n", " a-word-that-is-long"])


@pytest.fixture(scope="module")
def figure():
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    return signed_heatmap(values, LABELS, ["0", "1", "2"], title="Denoising", x_title="position", y_title="layer",
                          legend="blue: towards clean", unit="recovery", hidden=np.abs(values) < 0.1)  # fmt: skip


@pytest.mark.parametrize("width", ["one-column", "two-column"])
def test_svg_is_vector_of_exact_width_and_shows_every_label(figure, width: str, tmp_path) -> None:
    path = export_figure(figure, tmp_path / "f.svg", RECIPE, {}, width=width)
    root = ElementTree.parse(path).getroot()
    assert root.get("width") == f"{WIDTHS_IN[width]:g}in"
    assert root.get("viewBox").split()[2] == f"{WIDTHS_IN[width] * 96:g}"
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
    words = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {*LABELS, "0", "1", "2", "position", "layer"} <= words
    assert read_recipe(path) == RECIPE


def test_svg_rectangles_have_the_colours_of_the_values(figure) -> None:
    svg = figure_bytes(figure, ".svg", RECIPE).decode()
    fills = re.findall(r'<rect x="[^"]*" y="[^"]*" width="[^"]*" height="[^"]*" fill="(#[0-9a-f]{6})"/>', svg)
    # The top row, 0.27 … 1, is drawn first and ends in the deepest blue; the last row begins with the deepest red.
    assert fills[3] == "#053061"
    assert "#67001f" in fills
    assert "#dddddd" in fills


@pytest.mark.parametrize("width", ["one-column", "two-column"])
def test_pdf_is_one_page_of_exact_width_with_text_and_no_bitmap(figure, width: str, tmp_path) -> None:
    path = export_figure(figure, tmp_path / "f.pdf", RECIPE, {}, width=width)
    pages = pypdf.PdfReader(path).pages
    assert len(pages) == 1
    assert float(pages[0].mediabox.width) == pytest.approx(WIDTHS_IN[width] * 72, abs=1e-3)
    assert "Denoising" in pages[0].extract_text()
    assert len(pages[0].images) == 0
    assert read_recipe(path) == RECIPE


def test_svg_and_pdf_have_the_same_height(figure, tmp_path) -> None:
    svg = ElementTree.parse(export_figure(figure, tmp_path / "f.svg", RECIPE, {})).getroot()
    pdf = pypdf.PdfReader(export_figure(figure, tmp_path / "f.pdf", RECIPE, {}))
    assert float(pdf.pages[0].mediabox.height) == pytest.approx(float(svg.get("height")[:-2]) * 72, abs=1e-2)


@pytest.mark.parametrize(("width", "dots"), [("one-column", 975), ("two-column", 2025)])
def test_png_has_300_dots_to_the_inch(figure, width: str, dots: int, tmp_path) -> None:
    path = export_figure(figure, tmp_path / "f.png", RECIPE, {}, width=width)
    with Image.open(path) as image:
        assert image.width == dots
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        edge = np.asarray(image.convert("L"))
    assert read_recipe(path) == RECIPE
    # White all round: nothing was cut off at an edge, and something was drawn.
    assert min(edge[0].min(), edge[-1].min(), edge[:, 0].min(), edge[:, -1].min()) == 255
    assert edge.min() < 100


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_the_same_figure_gives_the_same_bytes(figure, suffix: str) -> None:
    assert figure_bytes(figure, suffix, RECIPE) == figure_bytes(figure, suffix, RECIPE)


def test_one_browser_serves_several_threads_and_a_dead_one_is_replaced(figure) -> None:
    with ThreadPoolExecutor(3) as pool:
        drawn = list(pool.map(lambda _: figure_bytes(figure, ".svg", RECIPE), range(3)))
    assert len(set(drawn)) == 1
    live = drawing._live[os.getpid()]
    live.kaleido.subprocess.kill()
    live.kaleido.subprocess.wait()
    assert figure_bytes(figure, ".svg", RECIPE) == drawn[0]
    assert drawing._live[os.getpid()] is not live


def test_a_missing_or_wrong_browser_is_one_clear_error(figure, monkeypatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    with pytest.raises(InputError, match=r"BROWSER_PATH='/nowhere/chrome' is not a program"):
        figure_bytes(figure, ".svg", RECIPE)
    monkeypatch.delenv("BROWSER_PATH")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"install Debian's `chromium` package"):
        figure_bytes(figure, ".png", RECIPE)
