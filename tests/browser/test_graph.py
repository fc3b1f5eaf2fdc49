"""A graph in the browser: a click isolates a node, another click shows the whole, and the node can be ablated."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser
NODE = "R22.3"
"""The residual of the name in layer 22, from where the last token reads it."""
WHERE = """node => {
    const plot = document.querySelector('.js-plotly-plot'), box = plot.getBoundingClientRect();
    const {xaxis, yaxis, _size} = plot._fullLayout;
    for (const trace of plot._fullData) for (const [place, id] of (trace.customdata || []).entries())
        if (id[0] === node) return [box.left + _size.l + xaxis.d2p(trace.x[place]),
                                    box.top + _size.t + yaxis.d2p(trace.y[place])];
}"""


def click_node(one: Visit, node: str) -> None:
    """Click a node of the graph where it has come to rest."""
    expect(one.page.locator("[data-test-script-state=notRunning]")).to_be_attached(timeout=120_000)
    one.plot().scroll_into_view_if_needed()
    before, place = None, one.page.evaluate(WHERE, node)
    while place is None or place != before:
        one.page.wait_for_timeout(500)
        before, place = place, one.page.evaluate(WHERE, node)
    one.page.mouse.click(*place)


def nodes(page: Page) -> int:
    """How many nodes are drawn."""
    return int(page.evaluate("document.querySelector('.js-plotly-plot')._fullData.reduce("
                             "(sum, trace) => sum + (trace.customdata || []).length, 0)"))  # fmt: skip


def test_a_click_on_a_node_isolates_it_and_another_shows_the_whole(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/information_flow")
    page.set_viewport_size({"width": 1440, "height": 1600})
    one.run()
    expect(page.get_by_text("Click a node")).to_be_visible()
    whole = nodes(page)
    click_node(one, NODE)
    expect(page).to_have_url(re.compile(f"focus={NODE}"))
    expect(page.get_by_role("button", name="Whole graph")).to_be_visible()
    assert 1 < nodes(page) < whole * 0.7
    one.shot("information-flow", page.get_by_text("Picture", exact=True))
    click_node(one, NODE)
    expect(page).not_to_have_url(re.compile("focus="))
    expect(page.get_by_text("Click a node")).to_be_visible()
    assert nodes(page) == whole
    click_node(one, NODE)
    page.get_by_role("button", name="Ablate it: Attention knockout").click()
    expect(page).to_have_url(re.compile("/attention_knockout.*layers=23.*run=[0-9a-f]{24}"))
    one.plot()
