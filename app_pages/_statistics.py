"""Attention of a text too long for its map: numbers of every head, their course along the text, all on Look inside."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import streamlit as st

from analyses._attention_streamed_figures import STATISTICS as NUMBERS
from analyses._contract import Inputs
from analyses._registry import get
from app_pages._bench import tell, workbench
from app_pages._exports import exports
from app_pages._figures import SCREEN_PX, clickable, draw
from app_pages._form import one_of
from app_pages._jobs import jobs, watch
from app_pages._links import link
from app_pages._look import STATISTICS, kept
from app_pages._run import pictures
from app_pages._script import script_panel
from app_pages._state import State
from app_pages._text import plain
from hooks.errors import InputError
from hooks.model import Model
from hooks.progress import Progress
from interp.jobs import Job
from interp.runs import Run, compute, read_spec

HALF_PX = 560.0


def statistics(state: State, model: Model, prompt: str, layer: int, length: int) -> None:
    """Compute in the background, with progress and cancel, then draw; the map itself is never written out."""
    st.subheader(f"Attention over {length:,} tokens", anchor=False)
    st.caption("The map of every head would have tokens × tokens cells; these numbers are read without writing it out.")
    name = _name(model, prompt)
    job = jobs().find(name)
    if job is None:
        job = jobs().start(name, lambda progress: _compute(model, prompt, progress))
    if job.status == "running":
        watch(job, state.key("statistics"))
    elif job.status == "done":
        _show(state, model, prompt, job.result, max(layer, 0))
    else:
        _ended(state, name, job)


def _name(model: Model, prompt: str) -> str:
    told = f"{model.identity.revision} {model.identity.dtype} {prompt}"
    return f"statistics {hashlib.sha256(told.encode()).hexdigest()}"


def _compute(model: Model, prompt: str, progress: Progress) -> Run:
    analysis = get(STATISTICS)
    inputs, spec = Inputs(prompt=prompt), read_spec(analysis, {})
    return compute(workbench().store, analysis, model, inputs, spec, progress=progress, fresh=True)


def _ended(state: State, name: str, job: Job) -> None:
    if isinstance(job.error, InputError):
        tell(job.error)
    else:
        st.warning("Reading the attention was cancelled." if job.error is None else f"It failed: {plain(job.error)}")
    st.button("Read it again", key=state.key("again"), on_click=lambda: jobs().drop(name))


def _show(state: State, model: Model, prompt: str, computed: Run, layer: int) -> None:
    """Layers × heads on the left, clickable; the layer's course and the head's most attended tokens beside it."""
    head = state.number("head", 0, 0, model.geometry.n_heads - 1)
    labels = {name: title for name, (title, _unit) in NUMBERS.items()}
    start = str(state.get("statistic", "sink_mass"))
    statistic = one_of(state, "statistic", "Number", list(labels), start, format_func=labels.get)
    state.set("statistic", statistic)
    options: dict[str, Any] = {"layer": layer, "head": head, "statistic": statistic}
    run = replace(computed, spec=read_spec(computed.analysis, options))
    figures = pictures(run)
    left, right = st.columns(2, gap="medium")
    with left:
        clicked = clickable(figures["heads"], state.key("statistics heads"), (head, layer), HALF_PX)
        if clicked is not None and clicked[1] != (head, layer):
            state.set("head", clicked[1][0])
            state.set("layer", clicked[1][1])
            st.rerun()
    with right:
        draw(figures["keys"], state.key("statistics keys"), HALF_PX)
    draw(figures["along"], state.key("statistics along"), SCREEN_PX)
    st.markdown(f"{run.analysis.meaning} :gray[Source: {plain(run.analysis.paper)}.]")
    with st.expander("Export and script of the attention"):
        names = {"heads": "every head", "along": "along the text", "keys": "most attended tokens"}
        which = one_of(state, "attention picture", "Picture", list(names), "heads", format_func=names.get)
        exports(state, run.analysis, which, lambda: kept(model, run, prompt))
        script_panel(STATISTICS, model.identity.as_dict(), {"request": {"prompt": prompt}}, run.spec)
        link(STATISTICS, "Open in Attention statistics", {"prompt": prompt}, ":material/experiment:")
