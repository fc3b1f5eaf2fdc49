"""The one workbench of this server and its models: loaded in the background, once, with progress on the page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app_pages._jobs import jobs, watch
from app_pages._text import plain
from hooks.checkpoints import catalogue
from hooks.errors import InputError
from hooks.model import DTYPES, Model
from hooks.progress import Progress
from interp.workbench import DEFAULT_MODEL, Workbench

Checks = dict[str, dict[str, Any]]
OTHER = "another model…"


@st.cache_resource(show_spinner=False)
def workbench() -> Workbench:
    """The workbench over the workspace that the app was started on."""
    return Workbench()


def pick_model(state: Any) -> tuple[str, str]:
    """The model picker in the sidebar: (what to load, number format), remembered across pages."""
    last = st.session_state.setdefault("model", {"model": DEFAULT_MODEL, "dtype": "float32"})
    wanted, dtype = str(state.get("model", last["model"])), str(state.get("dtype", last["dtype"]))
    entries = {entry.name: entry for entry in catalogue(workbench().workspace)}
    with st.sidebar:
        names = [*entries, OTHER]
        chosen = st.selectbox("Model", names, key=state.seeded("model_name", wanted if wanted in entries else OTHER))
        if chosen == OTHER:
            help_text = "a local folder, a .gguf file, or a hub id such as org/name"
            key = state.seeded("model_other", "" if wanted in entries else wanted)
            chosen = st.text_input("Folder, GGUF file or hub id", key=key, help=help_text).strip() or wanted
        elif entries[chosen].description:
            st.caption(entries[chosen].description)
        formats = list(DTYPES)
        if dtype not in formats:
            state.note("dtype", None, f"dtype {dtype!r} is not valid, {formats[0]} is used: {', '.join(formats)}")
        key = state.seeded("dtype", dtype if dtype in formats else formats[0])
        dtype = st.selectbox("Number format", formats, key=key, help="lower precision is faster; its drift is checked")
    state.set("model", chosen)
    state.set("dtype", dtype if dtype != "float32" else None)
    last.update(model=chosen, dtype=dtype)
    return chosen, dtype


def need_model(spec: str, dtype: str) -> Model | None:
    """The loaded model; None while it loads, with its progress drawn here, and when it cannot be: that is one line."""
    name = f"load {spec} {dtype}"
    job = jobs().find(name)
    if job is None:
        job = jobs().start(name, lambda progress: workbench().model(spec, dtype=dtype, progress=progress))
        job.wait(0.2)
    if job.status == "running":
        watch(job, name, steady=False)
        return None
    if job.status != "done":
        tell(job.error or InputError(f"loading {spec} was stopped"))
        st.button("Try again", on_click=lambda: jobs().drop(name))
        return None
    model: Model = job.result
    return model


def checks_of(model: Model) -> Checks | None:
    """The trust checks of a model, or None while they are being made in the background."""
    name = f"check {model.identity.revision} {model.identity.dtype}"
    job = jobs().find(name) or jobs().start(name, lambda progress: workbench().checks(model, progress))
    if job.status == "failed" and job.error:
        return {"trust_checks": {"status": "fail", "value": None, "unit": "", "detail": one_line(job.error)}}
    return job.result if job.status == "done" else None


def after_checks(model: Model, progress: Progress) -> None:
    """Wait for the checks, which every stored run carries, without making them twice."""
    job = jobs().find(f"check {model.identity.revision} {model.identity.dtype}")
    while job and job.status == "running":
        progress(0.0, "waiting for the trust checks")
        job.wait(0.2)


def tell(error: BaseException) -> None:
    """An error as one line on the page."""
    st.error(plain(one_line(error)), icon=":material/error:")


def tell_notes(state: Any) -> None:
    """What of the page's address could not be had, and what is shown instead."""
    if notes := state.noted():
        st.warning("  \n".join(map(plain, notes)), icon=":material/link_off:")


def one_line(error: BaseException) -> str:
    """What went wrong, in one line; errors that are not about the input are named by their kind."""
    said = " ".join(str(error).split())
    return said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
