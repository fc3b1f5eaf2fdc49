"""A graph on a page: the card of the node in focus, its buttons, and names that a graph does not have."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from pydantic import Field
from streamlit.testing.v1 import AppTest

from analyses._contract import Analysis, Frames, Spec
from analyses._graphs import GraphView, drawn
from analyses._plots import bars, graph
from app_pages._graph import BEHIND, filters, is_graph, without_names
from interp.runs import Run


class View(GraphView):
    """A graph's options and one of its own."""

    steps: int = Field(1, ge=1, description="computed")


NODES = pd.DataFrame({
    "node": ["a", "b", "c", "d"], "kind": ["token", "head", "head", "logit"], "row": [0, 1, 2, 3],
    "column": [0, 0, 1, 1], "label": ["␣a", "L1H0", "L2H1", "␣d"], "value": [1.0, 2.0, None, 4.0],
})  # fmt: skip
EDGES = pd.DataFrame({"source": ["a", "b", "c"], "target": ["b", "c", "d"], "weight": [0.5, -2.0, 1.0]})


def figures(frames: Frames, spec: View) -> dict[str, go.Figure]:
    nodes, edges, note = drawn(frames["nodes"], frames["edges"], spec)
    words = {"title": "t", "x_title": "token", "y_title": "layer", "value_title": "value", "weight_title": "weight"}
    figure = graph(nodes, edges, x_labels=["0 ␣a", "1 ␣d"], y_labels=list("0123"), focus=spec.focus, note=note, **words)
    return {"graph": figure}


def act(_frames: Frames, _spec: View, node: str) -> tuple[str, dict[str, Any]] | None:
    return ("component_ablation", {"answer": "x", "layers": [1]}) if node == "b" else None


def detail(_frames: Frames, _spec: View, figure: str, node: str, row: str) -> pd.DataFrame:
    return pd.DataFrame({"behind": [f"{figure}/{node}/{row}"]})


ANALYSIS = Analysis(
    "flow", "Flow", "?", "", "", ("prompt",), View, lambda *a: {}, figures, {}, {}, detail=detail, act=act
)  # fmt: skip


def run_of(**view: Any) -> Run:
    frames = {"nodes": NODES, "edges": EDGES}
    model = {"spec": "toy:random", "dtype": "float32", "name": "toy"}
    inputs = {"prompt": "A b", "request": {"prompt": "A b"}}
    return Run("key", ANALYSIS, model, inputs, View(**view), {}, frames, 0.1, "2026-11-21T00:00:00+00:00")


def _page(view: dict) -> None:  # type: ignore[type-arg]
    import streamlit as st

    from app_pages import _graph
    from app_pages._state import State
    from tests.app_pages.test_graph import ANALYSIS, View, run_of

    state = State("flow")
    if "started" not in st.session_state:
        st.session_state["started"] = True
        st.session_state["page objects"] = {}
        state.replace(view)
    _graph.moved(state)
    names = list(ANALYSIS.spec.display_fields())
    spec = _graph.filtered(state, ANALYSIS, View(**{name: state.get(name) for name in view if state.get(name)}), names)
    run = run_of(**spec.model_dump())
    _graph.picture(state, None, run, "graph", run.figures()["graph"])
    st.session_state["now"] = dict(state.values)


def _opened(**view: Any) -> AppTest:
    page = AppTest.from_function(_page, kwargs={"view": view}, default_timeout=60).run()
    assert not page.exception
    return page


def tables(page: AppTest) -> list[dict[str, list[Any]]]:
    return [table.value.to_dict("list") for table in page.dataframe]


def test_without_a_focus_there_is_a_hint_and_no_card() -> None:
    page = _opened()
    assert not page.button
    assert "Click a node" in page.caption[0].value


def test_the_card_names_the_node_and_lists_its_edges_and_what_lies_behind_it() -> None:
    page = _opened(focus="c")
    assert page.markdown[0].value.startswith("**L2H1**")
    assert "2, 1 ␣d" in page.caption[0].value
    incoming, outgoing, behind = tables(page)
    assert incoming == {"From": ["L1H0 · 1, 0 ␣a"], "weight": [-2.0]}
    assert outgoing == {"To": ["␣d · 3, 1 ␣d"], "weight": [1.0]}
    assert behind == {"behind": ["graph/c/"]}


def test_pinning_and_leaving_the_focus_are_kept_in_the_state_and_said_by_the_widgets() -> None:
    page = _opened(focus="b")
    page.button(key="flow|graph pin").click().run()
    assert page.session_state["now"] == {"focus": "b", "pinned": ["b"]}
    assert page.text_area(key="flow|pinned").value == "b"
    assert page.button(key="flow|graph pin").label == "Unpin"
    page.button(key="flow|graph pin").click().run()
    assert page.session_state["now"] == {"focus": "b"}
    page.button(key="flow|graph whole").click().run()
    assert page.session_state["now"] == {}
    assert page.text_input(key="flow|focus").value == ""
    assert not page.exception


@pytest.mark.parametrize(("view", "left"), [({}, False), ({"focus": "q"}, True), ({"hidden_kinds": ("q",)}, True)])
def test_names_of_another_graph_can_be_dropped(view: dict[str, Any], left: bool) -> None:
    whole = without_names(run_of(most_edges=7, **view))
    assert (whole is not None) == left
    if whole is not None:
        assert whole.spec == View(most_edges=7)


def test_only_graphs_have_filters_and_are_known_as_such() -> None:
    assert filters(View) == BEHIND
    assert filters(Spec) == ()
    assert is_graph(run_of().figures()["graph"])
    assert not is_graph(go.Figure())
    one = pd.DataFrame({"name": ["a"], "value": [1.0]})
    assert not is_graph(bars(one, label="name", value="value", title="t", unit="u", legend=""))
