"""The pages around the runs: one for every analysis, the list of runs, SQL, and addresses that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from analyses._registry import registry
from data.store import Store
from tests.browser.conftest import App, Visit

pytestmark = pytest.mark.browser
GENERIC = [name for name in registry() if name != "activation_patching"]


@pytest.mark.parametrize("name", GENERIC)
def test_every_analysis_has_a_page_that_runs_its_example(visit: Callable[[], Visit], name: str) -> None:
    one = visit()
    page = one.open(f"/{name}")
    one.run()
    expect(page.get_by_text(registry()[name].question)).to_be_visible()
    expect(page.get_by_role("button", name="PDF")).to_be_visible()
    if name == "direct_logit_attribution":
        one.shot("generic", page.get_by_text("Picture", exact=True))
    if name in ("causal_tracing", "steering"):
        one.shot(name.replace("_", "-"), page.get_by_text("Picture", exact=True))


def test_runs_are_listed_and_opened_again(visit: Callable[[], Visit]) -> None:
    one = visit()
    one.open("/logit_lens")
    one.run()
    one.page.get_by_role("link", name="Runs").click()
    expect(one.page.get_by_role("heading", name="Runs")).to_be_visible()
    # Of this analysis alone: a run that was there before stands far down a long list, which draws what is seen of it.
    one.open("/runs?analysis=logit_lens")
    expect(one.cell("logit_lens")).to_be_attached()
    one.select_row(0)
    expect(one.page.get_by_role("link", name="Open")).to_be_visible()
    one.shot("runs")


def test_selected_run_opens_and_can_be_deleted(visit: Callable[[], Visit], app: App) -> None:
    one = visit()
    one.open("/logit_lens?top_k=3")
    one.run()
    key = Store(app.workspace).list_runs().iloc[0]["key"]
    page = one.open("/runs?analysis=logit_lens")
    one.select_row(0)
    told = page.locator("code", has_text=key)
    expect(told).to_be_visible()
    page.get_by_role("link", name="Open").click()
    one.plot()
    expect(page).to_have_url(re.compile(f"/logit_lens.*run={key}"))
    expect(page.get_by_role("spinbutton", name="top k")).to_have_value("3")
    page.get_by_role("link", name="Runs").click()
    expect(told).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete this run").click()
    expect(told).to_have_count(0)
    assert Store(app.workspace).find_run(key) is None


def test_sql_answers_and_refuses_to_write(visit: Callable[[], Visit]) -> None:
    one = visit()
    page = one.open("/sql")
    page.get_by_label("Query").fill("SELECT 6 * 7 AS answer")
    page.get_by_role("button", name="Run query").click()
    expect(page.get_by_text("1 rows, 1 columns")).to_be_visible()
    expect(one.cell("42")).to_be_attached()
    page.get_by_label("Query").fill("DROP TABLE runs")
    page.get_by_role("button", name="Run query").click()
    expect(page.get_by_test_id("stAlert")).to_contain_text("SQL only reads here")
    expect(page.get_by_label("Query")).to_have_value("DROP TABLE runs")


def test_sql_example_over_results(visit: Callable[[], Visit]) -> None:
    one = visit()
    one.open("/logit_lens")
    one.run()
    one.open("/sql?go=1&q=SELECT+target,+layer,+rank+FROM+logit_lens__targets+WHERE+position+=+4+ORDER+BY+layer+DESC")
    expect(one.cell("␣Paris").or_(one.cell(" Paris")).first).to_be_attached()
    one.shot("sql")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/patching?run=nothing", "unknown run"),
        ("/logit_lens?top_k=9000", "top_k"),
        ("/?model=toy:nothing", "nothing"),
        ("/sql?go=1&q=SELEKT", "SQL not understood"),
    ],
)
def test_address_that_leads_nowhere_is_one_line(visit: Callable[[], Visit], path: str, said: str) -> None:
    one = visit()
    page = one.open(path)
    expect(page.get_by_test_id("stAlert").filter(has_text=said).first).to_be_visible(timeout=300_000)
