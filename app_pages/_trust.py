"""The trust strip: which weights these are, and whether the checks on them hold. Red is red."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from app_pages._bench import Checks, checks_of
from app_pages._jobs import POLL_S, jobs
from app_pages._text import html, plain
from hooks.model import Model

SIGNS = {"pass": "✓", "fail": "✗", "note": "i"}


def strip(identity: Mapping[str, str], checks: Checks) -> None:
    """One badge a check with its number; what it means is in the tooltip, a failure also in a line of its own."""
    badges = [_badge("note", identity["name"], _identity(identity))]
    badges.append(_badge("note", identity["dtype"], f"number format of the weights: {identity['dtype']}"))
    badges += [
        _badge(c["status"], f"{SIGNS[c['status']]} {_words(name, c, identity)}", c["detail"])
        for name, c in checks.items()
    ]
    html(f'<div class="checks">{"".join(badges)}</div>')
    for name, check in checks.items():
        if check["status"] == "fail":
            st.error(f"{plain(name.replace('_', ' '))}: {plain(check['detail'])}", icon=":material/gpp_bad:")


def live_strip(model: Model) -> None:
    """The strip of a loaded model, filled in when its checks are done."""
    checks = checks_of(model)
    if checks is None:
        _waiting(model)
    else:
        strip(model.identity.as_dict(), checks)


@st.fragment(run_every=POLL_S)
def _waiting(model: Model) -> None:
    checks = checks_of(model)
    if checks is not None:
        st.rerun()
    job = jobs().find(f"check {model.identity.revision} {model.identity.dtype}")
    doing = job.label if job else "checking"
    identity = model.identity.as_dict()
    badges = [_badge("note", identity["name"], _identity(identity)), _badge("note", f"… {doing}", "checks run once")]
    html(f'<div class="checks">{"".join(badges)}</div>')


def _badge(status: str, text: str, title: str) -> str:
    return f'<span class="check {status}" title="{escape(title)}">{escape(text)}</span>'


def _identity(identity: Mapping[str, str]) -> str:
    return f"{identity['name']} from {identity['source']}, revision {identity['revision']}"


def _words(name: str, check: Mapping[str, Any], identity: Mapping[str, str]) -> str:
    """The check's name with its number or, for what cannot be measured, the fact itself."""
    if name == "quantisation":
        return "not quantised" if identity["quantisation"] == "none" else f"quantised: {identity['quantisation']}"
    if name == "weight_processing":
        return "weights unprocessed" if identity["processing"] == "none" else identity["processing"]
    value = "" if check["value"] is None else f" {check['value']:.2g} {check['unit']}"
    return f"{name.replace('_', ' ').replace('hugging face', 'Hugging Face')}{value}"
