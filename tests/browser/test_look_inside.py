"""Look inside: a prompt typed in, its tokens, the lens and the attention linked by the chosen token and layer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

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
