"""Recipes in files that need no browser: HTML and tables; and files that carry none."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from analyses._plots import signed_heatmap
from hooks.errors import InputError
from interp.embed import embed_svg, read_recipe, sidecar
from interp.export import export_figure, export_frames
from interp.recipe import build_recipe, frame_digest

FRAMES = {"cells": pd.DataFrame({"layer": [0, 1], "v": [0.1 + 0.2, np.nan], "t": ['␣a,"b"', "⏎\n"]})}
RECIPE = build_recipe(
    workbench="0.1.0", analysis="a", analysis_version=1, figure="f", model={},
    inputs={"p": "]]> </script> \" 日本 \udc80"},
    spec={}, checks={}, run="k", command="interp run a", frames=FRAMES, created="2026-11-21T04:00:00+00:00",
)  # fmt: skip


def figure() -> go.Figure:
    return signed_heatmap(
        [[1.0, -1.0]], ["0 ␣a", "1 ⏎"], ["0"], title="t", x_title="x", y_title="y", legend="l", unit="u"
    )


def test_html_needs_no_network_and_gives_its_recipe_back(tmp_path) -> None:
    path = export_figure(figure(), tmp_path / "deep" / "er" / "f.html", RECIPE, FRAMES)
    text = path.read_text(encoding="utf-8")
    assert read_recipe(path) == RECIPE
    assert not re.search(r"<(script|link|img)[^>]*\b(src|href)=", text)
    assert "plotly.js v" in text
    assert text.index("charset") < 1000
    assert export_figure(figure(), tmp_path / "g.html", RECIPE, FRAMES).read_text(encoding="utf-8") == text


def test_parquet_keeps_the_frame_exactly_and_the_recipe(tmp_path) -> None:
    path = export_figure(None, tmp_path / "f.parquet", RECIPE, FRAMES)
    assert read_recipe(path) == RECIPE
    assert frame_digest(pd.read_parquet(path)) == RECIPE["digests"]["cells"]


def test_csv_is_plain_and_exact_with_the_recipe_beside_it(tmp_path) -> None:
    path = export_figure(None, tmp_path / "f.csv", RECIPE, FRAMES)
    assert read_recipe(path) == read_recipe(sidecar(path)) == RECIPE
    assert pd.read_csv(path)["v"].iloc[0] == 0.1 + 0.2
    sidecar(path).unlink()
    with pytest.raises(InputError, match=r"f\.csv\.recipe\.json does not lie beside it"):
        read_recipe(path)


def test_several_frames_become_several_files(tmp_path) -> None:
    paths = export_frames({"a": FRAMES["cells"], "b": FRAMES["cells"]}, tmp_path / "f.csv", RECIPE)
    assert [path.name for path in paths] == ["f.a.csv", "f.b.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "f.a.csv", "f.a.csv.recipe.json", "f.b.csv", "f.b.csv.recipe.json"]  # fmt: skip


def test_unknown_formats_and_widths_name_the_choices(tmp_path) -> None:
    with pytest.raises(InputError, match=r"unknown export format '\.svgz': did you mean '\.svg'"):
        export_figure(figure(), tmp_path / "f.svgz", RECIPE, FRAMES)
    with pytest.raises(InputError, match=r"unknown export format 'plain'"):
        export_figure(figure(), tmp_path / "plain", RECIPE, FRAMES)
    with pytest.raises(InputError, match=r"unknown figure width 'one'.*two-column"):
        export_figure(figure(), tmp_path / "f.html", RECIPE, FRAMES, width="one")
    with pytest.raises(InputError, match="no frames"):
        export_figure(figure(), tmp_path / "f.csv", RECIPE, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write .*f\.csv"):
        export_figure(None, blocked / "f.csv", RECIPE, FRAMES)
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*f\.csv"):
        export_frames(FRAMES, tmp_path / "f.csv", RECIPE)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, a disk without space, exists on Linux only")
def test_no_space_is_one_clear_error(tmp_path, monkeypatch) -> None:
    part = tmp_path / f".f.csv.{os.getpid()}.part"
    part.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot write .*f\.csv.*No space left"):
        export_frames(FRAMES, tmp_path / "f.csv", RECIPE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "html", "parquet"])
@pytest.mark.parametrize("content", [b"", b"\x00garbage <svg", b"%PDF-1.4 broken", b"\x89PNG\r\n\x1a\n"])
def test_damaged_files_are_one_clear_error(tmp_path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"f.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"f\.{suffix}: no.*\.svg, \.pdf, \.png, \.html, \.csv, \.parquet"):
        read_recipe(path)


def test_files_without_a_recipe_say_so(tmp_path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "f.png")
    (tmp_path / "f.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    FRAMES["cells"].to_parquet(tmp_path / "f.parquet")
    for name in ("f.png", "f.svg", "f.parquet"):
        with pytest.raises(InputError, match=rf"{name}: no recipe inside"):
            read_recipe(tmp_path / name)
    with pytest.raises(InputError, match=r"no such file"):
        read_recipe(tmp_path / "none.svg")
    with pytest.raises(InputError, match=r"unknown figure format '\.docx'"):
        read_recipe(tmp_path / "f.docx")
    (tmp_path / "folder.svg").mkdir()
    for folder in (tmp_path, tmp_path / "folder.svg"):
        with pytest.raises(InputError, match=r"this is a folder; recipes are read from"):
            read_recipe(folder)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "parquet"])
def test_a_damaged_file_is_told_without_the_names_of_libraries(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"f.{ending}"
    path.write_bytes(b"\x00 nothing of the kind")
    with pytest.raises(InputError, match=rf"not a readable {ending.upper()} file, or a damaged one; recipes") as caught:
        read_recipe(path)
    assert "Error" not in str(caught.value)


def test_a_recipe_survives_a_drawing_program_that_renames_prefixes(tmp_path) -> None:
    svg = embed_svg(b'<svg xmlns="http://www.w3.org/2000/svg" width="1"><g/></svg>', RECIPE).decode()
    moved = svg.replace("<recipe xmlns=", "<w:recipe xmlns:w=").replace("</recipe>", "</w:recipe>")
    (tmp_path / "f.svg").write_text(moved)
    assert read_recipe(tmp_path / "f.svg") == RECIPE
