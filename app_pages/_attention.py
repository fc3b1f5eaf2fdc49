"""The attention of one layer on Look inside: every head small, one enlarged, the chosen token's row framed.

Long texts get statistics of every head instead.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analyses._attention import MAX_TOKENS
from analyses._plots import glyphs
from app_pages._exports import exports
from app_pages._figures import BESIDE_PX, FRAME, clickable, draw
from app_pages._form import one_of
from app_pages._links import link
from app_pages._look import ATTENTION, kept, look
from app_pages._run import pictures
from app_pages._script import script_panel
from app_pages._state import State
from app_pages._statistics import statistics
from app_pages._text import plain
from hooks.model import Model
from interp.runs import Run

MOST_SQUARES = 12_000
"""Above this many cells the small pictures take no clicks: the heads are chosen by their buttons."""


def attention(state: State, model: Model, prompt: str, layer: int, position: int) -> None:
    """Small multiples of the layer's heads, the chosen head enlarged, and what the chosen token looks at."""
    ids = model.encode(prompt)
    if len(ids) > MAX_TOKENS:
        statistics(state, model, prompt, layer, len(ids))
        return
    layer = max(layer, 0)
    run = look(model, ATTENTION, prompt, layers=[layer], layer=layer, head=_head(state, model))
    figures = pictures(run)
    st.subheader(f"Attention in layer {layer}", anchor=False)
    head = _heads(state, model, run, figures["layer"], layer)
    left, right = st.columns([7, 3], gap="medium")
    with left:
        draw(_row_framed(figures["head"], position), state.key("enlarged"), BESIDE_PX)
        st.markdown(f"{run.analysis.meaning} :gray[Source: {plain(run.analysis.paper)}.]")
    with right:
        _looked_at(run, layer, head, position)
    _take(state, model, run, prompt)


def _head(state: State, model: Model) -> int:
    return state.number("head", 0, 0, model.geometry.n_heads - 1)


def _heads(state: State, model: Model, run: Run, figure: go.Figure, layer: int) -> int:
    """The heads as buttons and as clickable small pictures."""
    head, key = _head(state, model), state.key("head")
    if st.session_state.get(key) != head:
        st.session_state[key] = head
    st.pills(
        "Head to enlarge",
        range(model.geometry.n_heads),
        key=key,
        format_func=lambda one: f"L{layer}H{one}",
        on_change=lambda: state.set("head", st.session_state[key]),
        required=True,
    )
    cells = len(run.frames["tokens"]) ** 2 * model.geometry.n_heads
    if cells > MOST_SQUARES:
        draw(figure, state.key("heads"))
        return head
    clicked = clickable(figure, state.key("heads"), None, panel=head)
    if clicked is not None and clicked[0] != head:
        state.set("head", clicked[0])
        st.rerun()
    return head


def _row_framed(figure: go.Figure, position: int) -> go.Figure:
    """The enlarged pattern with the chosen token's row of weights framed."""
    framed = go.Figure(figure)
    sides = {"x0": -0.5, "x1": position + 0.5, "y0": position - 0.5, "y1": position + 0.5}
    return framed.add_shape(type="rect", **sides, line={"color": FRAME, "width": 3})


def _looked_at(run: Run, layer: int, head: int, position: int) -> None:
    """The sources of the chosen token, heaviest first."""
    patterns, tokens = run.frames["patterns"], run.frames["tokens"]
    here = patterns[(patterns["head"] == head) & (patterns["destination"] == position)]
    here = here.sort_values("weight", ascending=False).head(10)
    texts = tokens.set_index("position")["token"]
    st.markdown(f"**L{layer}H{head} at {position} {plain(glyphs(texts[position]))} looks at**")
    shown = pd.DataFrame({"token": [glyphs(texts[s]) for s in here["source"]], "position": here["source"]})
    shown["weight"] = here["weight"]
    bar = st.column_config.ProgressColumn("weight", min_value=0.0, max_value=1.0, format="%.3f", color="#6BA3D0")
    st.dataframe(shown, hide_index=True, column_config={"weight": bar}, height="content")


def _take(state: State, model: Model, run: Run, prompt: str) -> None:
    with st.expander("Export and script of the attention"):
        pictures = {"layer": "every head", "head": "the enlarged head"}
        which = one_of(state, "attention picture", "Picture", list(pictures), "layer", format_func=pictures.get)
        exports(state, run.analysis, which, lambda: kept(model, run, prompt))
        script_panel(ATTENTION, model.identity.as_dict(), {"request": {"prompt": prompt}}, run.spec)
        link(ATTENTION, "Open in Attention patterns, with all layers", {"prompt": prompt}, ":material/experiment:")
