"""A graph on a page: a click on a node isolates what hangs on it and tells what it is and what can be done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analyses._contract import Analysis, Spec
from analyses._graphs import GraphView
from analyses._plots import fit
from analyses._registry import get
from app_pages import _run
from app_pages._bench import tell
from app_pages._figures import BESIDE_PX, SCALE, SCREEN_PX
from app_pages._form import fields
from app_pages._links import go_to, link
from app_pages._onward import carried, plain_value
from app_pages._state import State
from app_pages._text import plain
from hooks.errors import InputError
from hooks.model import Model
from interp.input_kinds import ASKED
from interp.inputs import Request
from interp.runs import Run, read_spec

BEHIND = ("least_weight", "focus", "pinned", "hidden_kinds")
"""Options of the view that stand behind a button: clicks set most of them."""
NAMES: dict[str, Any] = {"focus": None, "pinned": (), "hidden_kinds": ()}
"""Options that name nodes or kinds of one graph, with what they are where that graph has no such thing."""
NOWHERE: tuple[str, dict[str, Any]] = ("", {})
MOVED, CLICKS = "graph moved", "graph clicks"
_CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False}


def is_graph(figure: go.Figure) -> bool:
    """Whether a figure is one of `analyses._plots.graph`."""
    return isinstance(figure.layout.meta, dict) and figure.layout.meta.get("kind") == "graph"


def filters(spec: type[Spec]) -> tuple[str, ...]:
    """Those options of an analysis with a graph that stand behind a button."""
    return BEHIND if issubclass(spec, GraphView) else ()


def filtered(state: State, analysis: Analysis, spec: Spec, names: Sequence[str]) -> Spec:
    """The button and, behind it, widgets for these options; returns the spec they say. Raises InputError."""
    with st.popover("Filters", icon=":material/filter_alt:"):
        return fields(state, analysis, spec, names)


def without_names(run: Run) -> Run | None:
    """The run without the options that name nodes of another graph; None when it has none of them."""
    given = {name: empty for name, empty in NAMES.items() if getattr(run.spec, name, empty) != empty}
    return replace(run, spec=run.spec.model_copy(update=given)) if given else None


def move(state: State, **to: Any) -> None:
    """Change options of the view as a click says, and draw the page again."""
    for name, value in to.items():
        state.set(name, list(value) if isinstance(value, tuple) else value)
    st.session_state[MOVED] = (state.page, to)
    # A figure or table that was clicked comes back as a new one, with nothing in it chosen.
    st.session_state[CLICKS] = st.session_state.get(CLICKS, 0) + 1
    st.rerun()


def moved(state: State) -> None:
    """Let the widgets say what a click has changed; before they are drawn."""
    page, to = st.session_state.pop(MOVED, NOWHERE)
    if page == state.page:
        for name, value in to.items():
            st.session_state[state.key(name)] = "\n".join(value) if isinstance(value, tuple) else value or ""


def picture(state: State, model: Model | None, run: Run, name: str, figure: go.Figure) -> None:
    """The graph; with a node in focus, narrower and with that node's card beside it."""
    meta = figure.layout.meta
    focus = meta["focus"]
    left, right = (st.container(), None) if focus is None else st.columns([7, 3], gap="medium")
    with left:
        clicked = _chart(state, run, name, figure, SCREEN_PX if focus is None else BESIDE_PX)
    if clicked is not None:
        move(state, focus=None if clicked == focus else clicked)
    if right is None:
        st.caption(":material/ads_click: Click a node to see only what leads to it and what it leads to.")
        return
    with right:
        _card(state, model, run, name, meta)


def _chart(state: State, run: Run, name: str, figure: go.Figure, width_px: float) -> str | None:
    """The picture; returns the id of a clicked node."""
    laid = fit(figure, width_px, SCALE).update_layout(meta=None, clickmode="event+select", hovermode="closest")
    for trace in laid.data:
        trace.meta = None
        if trace.mode == "markers":
            same = {"marker": {"opacity": trace.marker.opacity if trace.marker.opacity is not None else 1}}
            trace.update(selected=same, unselected=same)
    key = state.key(f"graph {run.key} {name} {st.session_state.get(CLICKS, 0)}")
    event = st.plotly_chart(laid, theme=None, width="content", key=key, config=_CONFIG, on_select="rerun",
                            selection_mode="points")  # fmt: skip
    found = next((point["customdata"] for point in event["selection"]["points"] if point.get("customdata")), None)
    return None if found is None else str(found[0] if isinstance(found, list) else found)


def _card(state: State, model: Model | None, run: Run, name: str, meta: dict[str, Any]) -> None:
    """What the node in focus is, what can be done with it, and its edges."""
    nodes, focus = meta["nodes"], meta["focus"]
    place = nodes["node"].index(focus)
    value = nodes["value"][place]
    strength = "" if value is None else f" · {meta['value_title']} {value:.3g}"
    st.markdown(f"**{plain(str(nodes['label'][place]))}** :gray[{plain(str(nodes['kind'][place]))}]")
    st.caption(plain(f"{_place(meta, place)}{strength} · {focus}"))
    pinned = tuple(getattr(run.spec, "pinned", ()))
    with st.container(horizontal=True):
        if st.button("Whole graph", icon=":material/zoom_out_map:", key=state.key("graph whole")):
            move(state, focus=None)
        if st.button("Unpin" if focus in pinned else "Pin", icon=":material/push_pin:", key=state.key("graph pin")):
            others = tuple(one for one in pinned if one != focus)
            move(state, pinned=others if focus in pinned else (*others, focus))
    _act(state, model, run, focus)
    ends = pd.DataFrame({column: meta[column] for column in ("source", "target", "weight")})
    for title, here, there in (("From", "target", "source"), ("To", "source", "target")):
        _edges(state, title, ends[ends[here] == place], there, meta)
    table = run.analysis.detail(run.frames, run.spec, name, focus, "") if run.analysis.detail else None
    if table is not None and not table.empty:
        st.dataframe(table, hide_index=True, width="stretch")


def _act(state: State, model: Model | None, run: Run, focus: str) -> None:
    """The way to ablate the node for real, where the analysis knows one: starts that analysis and goes to its page."""
    found = run.analysis.act(run.frames, run.spec, focus) if run.analysis.act else None
    if found is None:
        return
    other, options = get(found[0]), found[1]
    address = carried(run, other) | {key: plain_value(value) for key, value in options.items()}
    if model is None:
        link(other.name, f"Ablate it: {other.title}", address, ":material/content_cut:")
    elif st.button(f"Ablate it: {other.title}", icon=":material/content_cut:", key=state.key("graph act"),
                   help="runs the model with this node ablated and shows what that does"):  # fmt: skip
        try:
            spec = read_spec(other, {key: value for key, value in options.items() if key not in ASKED})
            request = Request.from_dict({key: value for key, value in address.items() if key in ASKED})
            there = State(other.name)
            _run.start(there, other, model, request, spec)
        except InputError as error:
            tell(error)
            return
        go_to(other.name, address | {"run": str(there.get("run"))})


def _edges(state: State, title: str, edges: pd.DataFrame, there: str, meta: dict[str, Any]) -> None:
    """The drawn edges at one side of the node, the strongest first; a ticked row moves the focus to its other end."""
    if edges.empty:
        return
    ordered = edges.reindex(edges["weight"].abs().sort_values(ascending=False, kind="stable").index)
    nodes, others = meta["nodes"], ordered[there].tolist()
    names = [f"{nodes['label'][one]} · {_place(meta, one)}" for one in others]
    key = state.key(f"graph {title} {st.session_state.get(CLICKS, 0)}")
    event: Any = st.dataframe(
        pd.DataFrame({title: names, "weight": ordered["weight"].to_numpy()}), hide_index=True, width="stretch",
        height=min(36 * (len(names) + 1) + 3, 220), on_select="rerun", selection_mode="single-row", key=key,
        column_config={"weight": st.column_config.NumberColumn(help=meta["weight_title"], format="%.3g")},
    )  # fmt: skip
    if event["selection"]["rows"]:
        move(state, focus=str(nodes["node"][others[event["selection"]["rows"][0]]]))


def _place(meta: dict[str, Any], node: int) -> str:
    """Where a node stands, in the labels of the axes."""
    row, column = meta["nodes"]["row"][node], meta["nodes"]["column"][node]
    return f"{meta['y_labels'][row]}, {meta['x_labels'][column]}"
