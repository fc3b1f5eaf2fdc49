"""Where to go on from a result: other analyses, opened with the same model and, where they can read it, input."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analyses._contract import Analysis
from analyses._registry import get
from app_pages._links import link
from interp.runs import Run


def onward(analysis: Analysis, run: Run) -> None:
    """Links to the analyses that this one names."""
    if not analysis.onward:
        return
    st.caption("Go on with the same model and, where it fits, the same input:")
    with st.container(horizontal=True):
        for name in analysis.onward:
            link(name, get(name).title, carried(run, get(name)), ":material/arrow_forward:")


def carried(run: Run, other: Analysis) -> dict[str, str | list[str]]:
    """The address fields that `other` opens with: the model, and this run's input if it is of a kind that it needs."""
    state: dict[str, str | list[str]] = {"model": run.model["spec"], "dtype": run.model["dtype"]}
    held = {kind for kind in ("prompt", "texts", "tasks", "pairs") if run.inputs.get(kind)}
    held |= {"pair"} if len(run.inputs.get("pairs", ())) == 1 else set()
    if not held & set(other.needs):
        return state
    asked: dict[str, Any] = run.inputs.get("request") or {}
    return state | {name: plain_value(value) for name, value in asked.items() if value not in (None, [], ())}


def plain_value(value: Any) -> str | list[str]:
    """A value as an address holds it."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
