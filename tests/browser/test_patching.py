"""The whole path of a researcher: patch a real model, look at a cell, take the figure away, come back to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from data.store import Store
from interp.embed import read_recipe
from tests.browser.conftest import App, Visit

pytestmark = pytest.mark.browser
LAYERS, POSITIONS = "/patching?layers=0&layers=10&layers=20&layers=29", 14
HEADING = "What the patch of blocks.10.hook_resid_pre, position 9"


@pytest.fixture
def patched(visit: Callable[[], Visit]) -> Visit:
    """A visit with the IOI pair patched at four layers; the second time it is answered from the store."""
    one = visit()
    one.open(LAYERS)
    one.run()
    return one


def _key(visit: Visit) -> str:
    return parse_qs(urlsplit(visit.page.url).query)["run"][0]


def test_pair_is_aligned_token_by_token_before_it_runs(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open(LAYERS)
    expect(page.locator(".token.differs")).to_have_count(2, timeout=300_000)
    assert page.locator(".token.differs").all_inner_texts() == ["␣John\n9·2322", "␣Mary\n9·5099"]
    expect(page.get_by_text(re.compile("56 cells"))).to_be_visible()


def test_unequal_pair_is_refused_in_one_line_and_nothing_is_lost(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/patching")
    box = page.get_by_label("Clean prompt")
    expect(box).to_be_visible(timeout=300_000)
    box.fill("When John and Mary Smith went to the store, John gave a drink to")
    box.press("Enter")
    alert = page.get_by_test_id("stAlert").filter(has_text="they part at token 4")
    expect(alert).to_be_visible()
    expect(page.locator(".token.wrong").first).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(alert.first).to_be_visible()
    expect(box).to_have_value("When John and Mary Smith went to the store, John gave a drink to")
    assert "run=" not in page.url


def test_clicked_cell_shows_what_the_patch_does(patched: Visit) -> None:
    patched.click_cell(9, 1, POSITIONS)
    expect(patched.page.get_by_text(HEADING)).to_be_visible()
    expect(patched.cell("␣Mary")).to_be_attached()
    expect(patched.page).to_have_url(re.compile(r"cell=resid_pre%3A9%2C1"))


def test_whole_grid_of_the_example(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/patching")
    one.run()
    expect(page.get_by_text(re.compile("clean logit difference \\+4.6"))).to_be_visible()
    one.shot("patching", page.get_by_text(re.compile("^Run .* computed in")))
    one.click_cell(13, 25, POSITIONS)
    expect(page.get_by_text("What the patch of blocks.25.hook_resid_pre, position 13")).to_be_visible()
    expect(one.cell("␣Mary")).to_be_attached()
    one.shot("patching-cell", one.plot())


def test_downloaded_svg_carries_the_recipe_of_this_run(patched: Visit, tmp_path: Path) -> None:
    button = patched.page.get_by_role("button", name="SVG")
    with patched.page.expect_download(timeout=300_000) as download:
        button.click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    recipe = read_recipe(file)
    assert recipe["run"] == _key(patched)
    assert recipe["inputs"]["pairs"][0]["answer"] == " Mary"
    assert {check["status"] for check in recipe["checks"].values()} <= {"pass", "note"}


def test_url_opens_the_same_page_elsewhere_without_computing(
    patched: Visit, visit: Callable[[], Visit], app: App
) -> None:
    patched.click_cell(9, 1, POSITIONS)
    expect(patched.page.get_by_text(HEADING)).to_be_visible()
    expect(patched.page).to_have_url(re.compile("cell="))
    before = Store(app.workspace).list_runs()
    other = visit()
    page = other.open(patched.page.url)
    other.plot()
    expect(page.get_by_text(HEADING)).to_be_visible()
    expect(page.get_by_role("textbox", name="layers")).to_have_value("0, 10, 20, 29")
    expect(page.get_by_text(re.compile(f"Run {_key(patched)[:12]}"))).to_be_visible()
    assert page.url == patched.page.url
    after = Store(app.workspace).list_runs()
    assert after.equals(before)


def test_key_alone_opens_a_run_with_its_form_filled_in(patched: Visit, visit: Callable[[], Visit]) -> None:
    other = visit()
    page = other.open(f"/patching?run={_key(patched)}")
    other.plot()
    expect(page.get_by_role("textbox", name="layers")).to_have_value("0, 10, 20, 29", timeout=300_000)
    expect(page.get_by_text("The form has changed")).to_have_count(0)


def test_long_run_can_be_cancelled_and_is_remembered_as_such(visit: Callable[[], Visit], app: App) -> None:
    one = visit()
    page = one.open("/patching?set=ioi&limit=300&sites=resid_pre&sites=z_by_position")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("What was finished is kept")).to_be_visible()
    listed = Store(app.workspace).list_runs()
    assert list(listed[listed["key"] == _key(one)]["status"]) == ["cancelled"]


def test_page_says_its_command_line(patched: Visit) -> None:
    patched.page.get_by_role("tab", name="Script").click()
    code = patched.page.get_by_test_id("stCode").filter(has_text="interp run activation_patching")
    expect(code).to_contain_text("--layers 0 --layers 10 --layers 20 --layers 29")
