"""The form that is made from a spec: what its widgets start with, and what they say back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from streamlit.testing.v1 import AppTest

from analyses._contract import Analysis, Spec, shown


class EverySpec(Spec):
    """One field of every kind that a form knows."""

    sites: tuple[Literal["q", "k", "v"], ...] = Field(("q",), min_length=1, description="several of a few")
    mode: Literal["one", "two"] = Field("one", description="one of two")
    layers: tuple[int, ...] = Field((), description="numbers; none given means all")
    tokens: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), description="texts")
    count: int = Field(3, ge=1, le=5, description="bounded")
    scale: float = Field(1.0, gt=0, description="a positive number")
    layer: int | None = Field(None, description="one number; none means the first layer")
    flag: bool = shown(False, description="a switch")


ANALYSIS = Analysis("every", "Every", "?", "", "", ("prompt",), EverySpec, lambda *a: {}, lambda *a: {}, {}, {})


def _page(given: dict) -> None:  # type: ignore[type-arg]
    import streamlit as st

    from app_pages._form import fields, remembered_spec
    from app_pages._state import State
    from hooks.errors import InputError
    from tests.app_pages.test_form import ANALYSIS

    state = State("every")
    if "started" not in st.session_state:
        st.session_state["started"] = True
        state.replace(given)
    try:
        spec = remembered_spec(state, ANALYSIS)
        chosen = fields(state, ANALYSIS, spec, list(ANALYSIS.spec.model_fields))
        st.json(chosen.model_dump(mode="json"))
        st.session_state["changed"] = dict(state.values)
        st.session_state["noted"] = state.noted()
    except InputError as error:
        st.error(str(error))


def _opened(**given: Any) -> AppTest:
    page = AppTest.from_function(_page, kwargs={"given": given}, default_timeout=60).run()
    assert not page.exception
    return page


def _said(page: AppTest) -> EverySpec:
    return EverySpec.model_validate_json(page.json[0].value)


def test_untouched_form_says_the_defaults_and_remembers_nothing() -> None:
    page = _opened()
    assert _said(page) == EverySpec()
    assert page.session_state["changed"] == {}


def test_texts_of_a_url_become_values_of_their_types() -> None:
    page = _opened(
        sites=["q", "v"], mode="two", layers="7", tokens=[" Mary", " John"], count="5", flag="true", layer="0"
    )
    assert _said(page) == EverySpec(
        sites=("q", "v"), mode="two", layers=(7,), tokens=(" Mary", " John"), count=5, flag=True, layer=0
    )


def test_ranges_and_lists_of_numbers() -> None:
    page = _opened()
    page.text_input(key="every|layers").set_value("0, 3-5 29").run()
    assert _said(page).layers == (0, 3, 4, 5, 29)
    assert page.session_state["changed"] == {"layers": [0, 3, 4, 5, 29]}


def test_spaces_of_tokens_are_kept() -> None:
    page = _opened()
    page.text_area(key="every|tokens").set_value(" Mary\n John\n").run()
    assert _said(page).tokens == (" Mary", " John")


def test_bounds_reach_the_widget() -> None:
    box = _opened().number_input(key="every|count")
    assert (box.min, box.max, box.value) == (1, 5, 3)


@pytest.mark.parametrize("words", ["one", "1-", "2.5"])
def test_what_is_no_number_is_one_line_that_names_the_option(words: str) -> None:
    page = _opened()
    page.text_input(key="every|layers").set_value(words).run()
    assert not page.exception
    assert len(page.error) == 1
    assert "layers" in page.error[0].value


def test_url_out_of_bounds_is_noted_and_costs_no_other_option() -> None:
    page = _opened(count="9", scale="2.5")
    assert not page.error
    assert _said(page) == EverySpec(count=3, scale=2.5)
    assert len(page.session_state["noted"]) == 1
    assert "count = '9'" in page.session_state["noted"][0]
    assert "the default, 3, is used instead" in page.session_state["noted"][0]


def test_a_choice_that_is_not_there_is_noted() -> None:
    page = _opened(mode="three")
    assert _said(page).mode == "one"
    assert "'three'" in page.session_state["noted"][0]


def test_an_empty_field_says_what_it_stands_for() -> None:
    page = _opened()
    assert page.number_input(key="every|layer").placeholder == "the first layer"
    assert page.text_input(key="every|layers").placeholder == "all"
