"""Look inside: a prompt typed in, its tokens, the lens and the attention linked by the chosen token and layer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SLOW_MS, Visit

pytestmark = pytest.mark.browser


def test_first_paint_shows_a_prompt_already_looked_at(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/")
    one.plot(2)
    expect(one.cell("␣Mary")).to_be_attached()
    expect(page.get_by_text("Next token after 13 ␣to")).to_be_visible()
    expect(page.locator(".check.pass").first).to_be_visible(timeout=300_000)
    expect(page.locator(".check.fail")).to_have_count(0)
    one.shot("look-inside")


def test_typed_prompt_is_looked_at_and_kept_in_the_url(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/")
    one.plot()
    page.get_by_label("Prompt").fill("The capital of France is")
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_text("Next token after 4 ␣is")).to_be_visible()
    expect(one.cell("␣Paris")).to_be_attached()
    expect(page).to_have_url(re.compile(r"prompt=The\+capital\+of\+France\+is"))


def test_lens_cell_token_and_layer_are_linked(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/?prompt=The+capital+of+France+is")
    one.click_cell(3, 21, 5)
    expect(page.get_by_text("Next token after 3 ␣France")).to_be_visible()
    expect(page.get_by_text("As read after layer 20")).to_be_visible()
    expect(page.get_by_text("Attention in layer 20")).to_be_visible()
    expect(page.get_by_text("L20H0 at 3 ␣France looks at")).to_be_visible()
    expect(page).to_have_url(re.compile("position=3&layer=20"))
    page.get_by_role("radio", name="L20H4").or_(page.get_by_role("button", name="L20H4")).first.click()
    expect(page.get_by_text("L20H4 at 3 ␣France looks at")).to_be_visible()
    expect(page).to_have_url(re.compile("head=4"))


def test_a_long_prompt_keeps_its_words_and_scrolls_sideways(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open(f"/?prompt={'John+gave+a+drink+to+Mary+' * 8}and&layer=20")
    box = page.locator(".st-key-sideways")
    expect(box.locator(".heatmaplayer text").first).to_be_attached(timeout=SLOW_MS)
    # It opens at its right end, where the chosen token is.
    assert box.evaluate("e => e.scrollWidth > e.clientWidth + 200 && Math.abs(e.scrollLeft) < 2")
    one.click_cell(46, 11, 49)
    expect(page.get_by_text("Next token after 46")).to_be_visible()
    expect(page).to_have_url(re.compile("position=46&layer=10"))


def test_what_the_address_cannot_have_is_said_and_corrected(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/?prompt=The+capital+of+France+is&position=99&layer=99&head=77")
    expect(page.get_by_text("position '99' is not valid, 4 is shown instead")).to_be_visible(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile("position=4&layer=29&head=8"))


def test_an_unknown_page_is_named(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/patchin")
    expect(page.get_by_text("There is no page /patchin")).to_contain_text("did you mean /patching?")


def test_chosen_cell_comes_back_with_the_url(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/?prompt=The+capital+of+France+is&position=2&layer=10&head=5")
    expect(page.get_by_text("L10H5 at 2 ␣of looks at")).to_be_visible(timeout=300_000)


def test_empty_prompt_is_one_line(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/")
    one.plot()
    page.get_by_label("Prompt").fill("")
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_test_id("stAlert")).to_contain_text("the prompt is empty")
