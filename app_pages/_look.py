"""What Look inside computes: two analyses of one prompt, kept while the server runs and stored only when exported."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from analyses._contract import Frames, Inputs
from analyses._registry import get
from app_pages._bench import after_checks, workbench
from hooks.model import Model
from hooks.progress import silent
from interp.runs import Run, compute, read_spec

LENS, ATTENTION, STATISTICS = "logit_lens", "attention_patterns", "attention_statistics"


def look(model: Model, analysis: str, prompt: str, **options: Any) -> Run:
    """An analysis of a prompt; computed once for each prompt and model, drawn as the options say.

    Raises InputError for a bad prompt.
    """
    spec = read_spec(get(analysis), options)
    identity = f"{model.identity.revision} {model.identity.dtype}"
    run = _looked(model, identity, analysis, prompt, json.dumps(spec.computed()))
    return replace(run, spec=spec)


@st.cache_resource(show_spinner="Looking inside", max_entries=32)
def _looked(_model: Model, identity: str, analysis: str, prompt: str, computed: str) -> Run:
    chosen = get(analysis)
    spec = read_spec(chosen, json.loads(computed))
    return compute(workbench().store, chosen, _model, Inputs(prompt=prompt), spec, fresh=True)


def kept(model: Model, run: Run, prompt: str) -> Run:
    """The same run with the trust checks made and stored, as exports need it."""
    after_checks(model, silent)
    return workbench().run_inputs(run.analysis.name, model, Inputs(prompt=prompt), run.spec, {"prompt": prompt})


def predictions(frames: Frames, layer: int, position: int) -> pd.DataFrame:
    """The most likely next tokens that the lens reads after a layer at a position, most likely first."""
    top = frames["top"]
    here = top[(top["layer"] == layer) & (top["position"] == position)]
    return here.sort_values("order")[["token", "token_id", "probability"]]
