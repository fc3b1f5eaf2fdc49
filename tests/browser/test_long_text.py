"""Look inside on a text near the model's whole context: attention as statistics, never as a map."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from data.prompt_sets import generate
from hooks.model import Model
from tests.browser.conftest import PLOT, SLOW_MS, Visit

pytestmark = pytest.mark.browser


def text_of(model: Model, tokens: int) -> str:
    """Sentences of the shipped prompt sets, about `tokens` tokens of them."""
    sentences = [f"{pair.clean}{pair.answer}." for pair in generate("ioi", model, 500, 1).pairs]
    ids = model.tokenizer.encode(" ".join(sentences), add_special_tokens=False)
    assert len(ids) >= tokens
    return str(model.tokenizer.decode(ids[:tokens]))


def test_attention_of_8000_tokens(visit: Callable[[], Visit], real: Model) -> None:
    one = visit()
    page = one.open("/")
    one.plot()
    text = text_of(real, 8000)
    page.get_by_label("Prompt").fill(text)
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_text("Attention over 8,0")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(PLOT)).to_have_count(4, timeout=SLOW_MS)
    expect(page.get_by_text("What L29H0 looks at most")).to_be_visible(timeout=SLOW_MS)
    one.shot("long-text", page.get_by_text("Attention over 8,0"))
    one.click_cell(3, 20, 9, number=1)
    expect(page.get_by_text("What L20H3 looks at most")).to_be_visible(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile("layer=20&head=3"))
    peak = one.app.peak_gib()
    print(f"the app's processes took at most {peak:.2f} GiB")
    assert 0.5 < peak < 7.0, "an 8 GB machine must be enough"
