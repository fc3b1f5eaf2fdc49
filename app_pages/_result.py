"""The lower half of an analysis page: progress while it runs, then picture, meaning, tables, exports and script."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analyses._contract import Analysis, Spec
from app_pages import _graph
from app_pages._bench import tell
from app_pages._exports import exports
from app_pages._form import fields, one_of
from app_pages._jobs import jobs, watch
from app_pages._onward import onward
from app_pages._run import job_name, pictures, same, stored
from app_pages._script import script_panel
from app_pages._state import State
from app_pages._text import plain
from hooks.errors import InputError
from hooks.model import Model
from interp.inputs import Request
from interp.jobs import Job
from interp.runs import Run

Picture = Callable[[State, Model | None, Run, str, go.Figure], None]
MANY_ROWS = 5000


def show_result(
    state: State, analysis: Analysis, model: Model | None, asked: tuple[Request, Spec] | None, picture: Picture
) -> Run | None:
    """Whatever the page's run has come to; returns the run once there is one."""
    key = state.get("run")
    if not key:
        st.info("Nothing has been run on this page yet: press **Run** for the example, or change it first.")
        _script_of(analysis, model, asked)
        return None
    job = jobs().find(job_name(str(key)))
    if job is not None and job.status != "done":
        _unfinished(job, str(key))
        _script_of(analysis, model, asked)
        return None
    jobs().drop(job_name(str(key)))
    try:
        run = stored(str(key))
    except InputError as error:
        tell(error)
        return None
    if run.analysis.name != analysis.name:
        tell(InputError(f"run {run.key} is a run of {run.analysis.title}; open it from the Runs page"))
        return None
    return _finished(state, analysis, model, run, asked, picture)


def _unfinished(job: Job, key: str) -> None:
    if job.status == "running":
        watch(job, key)
    elif job.status == "cancelled":
        st.warning(
            "Cancelled. What was finished is kept: press **Run** to go on from there.", icon=":material/stop_circle:"
        )
    elif job.error is not None:
        tell(job.error)
        if not isinstance(job.error, InputError):
            with st.expander("Traceback"):
                st.code("".join(traceback.format_exception(job.error)), language=None)


def _finished(
    state: State,
    analysis: Analysis,
    model: Model | None,
    run: Run,
    asked: tuple[Request, Spec] | None,
    picture: Picture,
) -> Run:
    if asked is not None and not same(run, model, *asked):
        st.warning(
            "The form has changed since this run; press **Run** to bring the picture up to date.",
            icon=":material/edit:",
        )
    created = datetime.fromisoformat(run.created)
    made = f"Run `{run.key[:12]}` of {created:%Y-%m-%d %H:%M} UTC, computed in {run.seconds:.1f} s"
    st.caption(made + plain(_note(run)))
    run = _with_display(state, analysis, run)
    try:
        figures = pictures(run)
    except InputError as error:
        tell(error)
        if (whole := _graph.without_names(run)) is None:
            return run
        run, figures = whole, pictures(whole)
    name = _pick(state, list(figures))
    picture(state, model, run, name, figures[name])
    st.markdown(f"{analysis.meaning} :gray[Source: {plain(analysis.paper)}.]")
    onward(analysis, run)
    take, script, tables = st.tabs(["Export", "Script", "Tables"])
    with take:
        exports(state, analysis, name, lambda: run)
    with script:
        script_panel(analysis.name, run.model, run.inputs, run.spec)
    with tables:
        for frame, content in run.frames.items():
            _table(analysis, frame, content)
    return run


def _note(run: Run) -> str:
    return f". {run.inputs['note']}" if run.inputs.get("note") else ""


def _with_display(state: State, analysis: Analysis, run: Run) -> Run:
    """The run as the display options want it drawn; they sit above the picture and compute nothing."""
    names = [n for n in analysis.spec.model_fields if n in analysis.spec.display_fields()]
    if not names:
        return run
    spec = run.spec
    _graph.moved(state)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        try:
            given = {name: state.get(name, getattr(run.spec, name)) for name in names}
            start = analysis.spec.model_validate(run.spec.model_dump() | given)
            behind = _graph.filters(analysis.spec)
            spec = fields(state, analysis, start, [n for n in names if n not in behind])
            if behind:
                spec = _graph.filtered(state, analysis, spec, behind)
        except ValueError as error:
            tell(error)
    return replace(run, spec=spec)


def _pick(state: State, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    start = str(state.get("figure", names[0]))
    name = one_of(state, "figure", "Picture", names, start, format_func=lambda n: n.replace("_", " "))
    state.set("figure", name)
    return name


def _table(analysis: Analysis, name: str, frame: pd.DataFrame) -> None:
    st.markdown(f"**{plain(name)}** · {len(frame):,} rows")
    columns = {
        c.name: st.column_config.Column(c.name, help=f"{c.description}{f' ({c.unit})' if c.unit else ''}")
        for c in analysis.columns[name]
    }
    st.dataframe(frame.head(MANY_ROWS), hide_index=True, column_config=columns, height=280)
    if len(frame) > MANY_ROWS:
        st.caption(f"The first {MANY_ROWS:,} rows; the exports and SQL have all of them.")


def _script_of(analysis: Analysis, model: Model | None, asked: tuple[Request, Spec] | None) -> None:
    if model is not None and asked is not None:
        with st.expander("Script: command line, Python, batch file"):
            script_panel(analysis.name, model.identity.as_dict(), {"request": asked[0].as_dict()}, asked[1])
