"""The page of an analysis, made from its declaration: inputs, options, run, picture, tables, exports and script."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import streamlit as st

from analyses._contract import Analysis, Spec
from analyses._registry import get
from app_pages import _detail, _inputs, _run
from app_pages._bench import need_model, pick_model, tell, tell_notes, workbench
from app_pages._form import fields, remembered_spec
from app_pages._result import show_result
from app_pages._state import State, open_page
from app_pages._text import html
from app_pages._trust import live_strip, strip
from hooks.errors import InputError
from hooks.model import Model
from interp.inputs import Request
from interp.runs import Run

Picture = Callable[[State, Model | None, Run, str, go.Figure], None]
Cost = Callable[[Model, Request, Spec, Analysis], str]
MANY_OPTIONS = 6
"""More options than these stand in two columns."""


def _earlier(model: Model, request: Request, spec: Spec, analysis: Analysis) -> str:
    """How long runs of this analysis and model have taken in this workspace: the only measure that every one has."""
    listed = workbench().runs()
    same = (listed["analysis"] == analysis.name) & (listed["model"] == model.identity.name)
    took = listed.loc[same & (listed["status"] == "done"), "seconds"]
    if took.empty:
        return "No run of this analysis with this model has been timed yet."
    spread = f"{took.min():.1f} to {took.max():.1f} s" if took.max() - took.min() > 0.05 else f"{took.max():.1f} s"
    return f"Earlier runs with this model took {spread} ({len(took)} so far)."


def page(name: str, picture: Picture = _detail.picture, cost: Cost = _earlier) -> None:
    """The whole page; `picture` draws a figure and what belongs to it, `cost` predicts what a run will take."""
    analysis = get(name)
    kept = ("model", "dtype", *_inputs.NAMES, *analysis.spec.model_fields, "figure", "cell", "pair", "run")
    state = open_page(name, *kept)
    html("")
    st.header(analysis.title)
    st.markdown(analysis.question)
    top = st.container()
    try:
        _run.adopt(state)
    except InputError as error:
        tell(error)
    spec_name, dtype = pick_model(state)
    with st.container(border=True):
        model = need_model(spec_name, dtype)
        asked = _ask(state, analysis, model, cost) if model else None
    run = show_result(state, analysis, model, asked, picture)
    with top:
        if run is not None:
            strip(run.model, run.checks)
        elif model is not None:
            live_strip(model)
        tell_notes(state)
    state.publish(*kept)


def _ask(state: State, analysis: Analysis, model: Model, cost: Cost) -> tuple[Request, Spec] | None:
    """The form: inputs, options, cost and the Run button. None when it does not hold together yet."""
    spec, wrong = _remembered(state, analysis)
    computed = [n for n in analysis.spec.model_fields if n not in analysis.spec.display_fields()]
    # Many options stand in two columns, so that the picture is not pushed off the screen.
    half = (len(computed) + 1) // 2 if len(computed) > MANY_OPTIONS else len(computed)
    left, *right = st.columns([5, 3] if half == len(computed) else [4, 2, 2], gap="large")
    with left:
        request = _inputs.edit(state, analysis, model)
    for column, names in zip(right, (computed[:half], computed[half:]), strict=False):
        with column:
            try:
                spec = fields(state, analysis, spec, names)
            except InputError as error:
                tell(error)
                wrong = True
    if not (analysis.by_text and request.file):
        _inputs.check(model, request)
    button, note = st.columns([1, 5], vertical_alignment="center")
    pressed = button.button("Run", type="primary", icon=":material/play_arrow:", width="stretch", key=state.key("go"))
    if wrong:
        return None
    try:
        note.caption(cost(model, request, spec, analysis))
        if pressed:
            _run.start(state, analysis, model, request, spec)
    except InputError as error:
        if pressed:
            tell(error)
    return request, spec


def _remembered(state: State, analysis: Analysis) -> tuple[Spec, bool]:
    """The options of the state; when they are wrong, the example's, with the error shown once."""
    try:
        if any(name in state.values for name in (*analysis.spec.model_fields, *_inputs.NAMES)):
            return remembered_spec(state, analysis), False
        return analysis.spec.model_validate(analysis.example.get("spec", {})), False
    except InputError as error:
        tell(error)
        for name in analysis.spec.model_fields:
            state.set(name, None)
        return analysis.spec(), False
