"""The trust strip: a failed check is red and said in words, whatever kind of check it is."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _page(checks: dict) -> None:  # type: ignore[type-arg]
    from app_pages._trust import strip

    identity = {"name": "toy", "source": "here", "revision": "1", "quantisation": "Q4_1", "dtype": "float32"}
    strip(identity | {"processing": "none"}, checks)


def _drawn(status: str, name: str = "bridge_parity") -> AppTest:
    check = {"status": status, "value": 0.25, "unit": "nats", "detail": "They *differ*."}
    page = AppTest.from_function(_page, kwargs={"checks": {name: check}}, default_timeout=60).run()
    assert not page.exception
    return page


def _badges(page: AppTest) -> str:
    return str(page.main.children[0].proto.body)


@pytest.mark.parametrize("name", ["bridge_parity", "quantisation"])
def test_failed_check_is_red_and_said(name: str) -> None:
    page = _drawn("fail", name)
    assert 'class="check fail"' in _badges(page)
    assert len(page.error) == 1
    assert "They \\*differ\\*." in page.error[0].value


@pytest.mark.parametrize("status", ["pass", "note"])
def test_other_outcomes_are_not_errors(status: str) -> None:
    page = _drawn(status)
    assert f'class="check {status}"' in _badges(page)
    assert 'class="check fail"' not in _badges(page)
    assert not page.error


def test_number_and_quantisation_are_shown() -> None:
    badges = _badges(_drawn("pass"))
    assert "bridge parity 0.25 nats" in badges
    assert "toy · float32 · quantised Q4_1 · no weight processing" in badges


def test_run_without_checks_says_so() -> None:
    page = AppTest.from_function(_page, kwargs={"checks": {}}, default_timeout=60).run()
    assert "not checked" in _badges(page)
