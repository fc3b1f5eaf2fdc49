"""What an address asks for and cannot have is corrected, and said for as long as the correction stands."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app_pages._navigation import missing_page

PATHS = ["", "patching", "logit_lens", "runs"]


def _page(position: str, chosen: int | None) -> None:
    import streamlit as st

    from app_pages._state import State

    state = State("look")
    if "started" not in st.session_state:
        st.session_state["started"] = True
        state.set("position", position)
    st.session_state["number"] = state.number("position", 4, 0, 4)
    if chosen is not None:
        state.set("position", chosen)
    st.session_state["noted"] = state.noted()
    st.session_state["published"] = state.get("position")


def _opened(position: str, chosen: int | None = None) -> Any:
    return AppTest.from_function(_page, args=(position, chosen), default_timeout=60).run().session_state


@pytest.mark.parametrize(("given", "instead"), [("99", 4), ("-3", 0), ("two", 4), ("1.5", 4)])
def test_a_number_out_of_range_is_corrected_in_the_address_too_and_said(given: str, instead: int) -> None:
    session = _opened(given)
    assert session["number"] == session["published"] == instead
    assert len(session["noted"]) == 1
    assert f"position {given!r} is not valid, {instead} is shown instead: valid are 0 to 4" in session["noted"][0]


@pytest.mark.parametrize("given", ["0", "4"])
def test_a_number_in_range_is_not_remarked_upon(given: str) -> None:
    session = _opened(given)
    assert session["number"] == int(given)
    assert session["noted"] == []


def test_the_note_goes_when_something_else_is_chosen() -> None:
    assert _opened("99", chosen=2)["noted"] == []


@pytest.mark.parametrize(
    ("url", "missing"),
    [
        ("http://127.0.0.1:8501/nosuchpage", "nosuchpage"),
        ("http://127.0.0.1:8501/no%20such", "no such"),
        ("http://127.0.0.1:8501/", ""),
        ("http://127.0.0.1:8501", ""),
        ("http://127.0.0.1:8501/patching", ""),
        ("https://hub/user/a/proxy/8501/", ""),
        ("https://hub/user/a/proxy/8501/runs", ""),
        ("", ""),
    ],
)
def test_a_page_that_is_not_there_is_known_by_its_address(url: str, missing: str) -> None:
    assert missing_page(url, PATHS) == (missing, PATHS[1:])
