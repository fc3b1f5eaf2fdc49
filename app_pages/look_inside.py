"""Look inside: one prompt, and what the model makes of it at every token and layer, all linked by the chosen cell."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import streamlit as st

from analyses._plots import glyphs
from app_pages import _inputs
from app_pages._attention import attention
from app_pages._bench import need_model, pick_model, tell, tell_notes
from app_pages._exports import exports
from app_pages._figures import BESIDE_PX, SCREEN_PX, Cell, clickable
from app_pages._links import link
from app_pages._look import LENS, kept, look, predictions
from app_pages._next_token import top_tokens
from app_pages._run import pictures
from app_pages._script import script_panel
from app_pages._state import State, open_page
from app_pages._text import html, plain
from app_pages._trust import live_strip
from hooks.errors import InputError
from hooks.model import Model
from interp.runs import Run

PROMPT = "When John and Mary went to the store, John gave a drink to"
NAMES = ("model", "dtype", "prompt", "position", "layer", "head", "statistic")
MOST_TOKENS = 128
"""Of longer prompts the last tokens are shown: that many columns are the most a lens on a screen can hold."""
BESIDE = 15
"""Up to this many tokens the tables stand beside the lens; with more, it needs the whole width for its words."""
READABLE_PX, SIDES_PX = 44.0, 150.0
"""Pixels that a word of six letters takes on the screen, and those of both margins of the lens."""
EXTRA_PX = 80
"""Room for the second row labels."""
MANY_BUTTONS, MANY_PX = 45, 170
"""More tokens than this scroll, in a box of this height."""


def page() -> None:
    """Prompt, tokens, next token, logit lens and attention, for the chosen token and layer."""
    state = open_page("look", *NAMES)
    html("")
    st.header("Look inside")
    st.markdown("Type a prompt; see its tokens, what each layer would predict next, and where every head attends.")
    top = st.container()
    name, dtype = pick_model(state)
    model = need_model(name, dtype)
    if model is not None:
        try:
            _look(state, model)
        except InputError as error:
            tell(error)
        with top:
            live_strip(model)
            tell_notes(state)
    state.publish(*NAMES)


def _look(state: State, model: Model) -> None:
    with st.form(state.key("form"), border=False):
        box, go = st.columns([8, 1], vertical_alignment="bottom")
        prompt = box.text_area("Prompt", key=state.seeded("prompt", str(state.get("prompt", PROMPT))), height=68)
        go.form_submit_button("Look", type="primary", width="stretch")
    if state.get("prompt", prompt) != prompt:
        state.set("position", None)
    state.set("prompt", prompt)
    ids = model.encode(prompt)
    _inputs.warn(model, prompt, ids)
    first = max(0, len(ids) - MOST_TOKENS)
    run = look(model, LENS, prompt, **({"positions": list(range(first, len(ids)))} if first else {}))
    position, layer = _chosen(state, first, len(ids), model.geometry.n_layers)
    _tokens(state, model, ids, first, position)
    wide = len(ids) - first > BESIDE
    left, right = (st.container(), st.container()) if wide else st.columns([7, 3], gap="medium")
    with left:
        figure = pictures(run)["top_tokens"]
        chosen = (position - first, layer + 1)
        clicked = _lens(state, figure, chosen, wide)
        if clicked is not None:
            _move(state, position=clicked[1][0] + first, layer=clicked[1][1] - 1)
        st.markdown(f"{run.analysis.meaning} :gray[Source: {plain(run.analysis.paper)}.]")
    with right:
        _layers(state, model, layer)
        _next_tokens(run, model, ids, position, layer, wide)
    _take(state, model, run, prompt)
    attention(state, model, prompt, layer, position)


def _lens(state: State, figure: go.Figure, chosen: Cell, wide: bool) -> tuple[int, Cell] | None:
    """The lens; with many tokens in a box that scrolls sideways, so that every cell has room for its word."""
    width = READABLE_PX * len(figure.layout.meta["x_labels"]) + SIDES_PX
    if not wide or width <= SCREEN_PX:
        return clickable(figure, state.key("lens"), chosen, SCREEN_PX if wide else BESIDE_PX)
    meta = figure.layout.meta
    st.markdown(f"**{plain(meta['title'])}** :gray[{plain('; '.join(meta['notes']))}; scrolls sideways]")
    bare = go.Figure(figure).update_layout(meta=meta | {"title": "", "notes": []})
    with st.container(key="sideways"), st.container(width=math.ceil(width) + EXTRA_PX):
        return clickable(bare, state.key("lens"), chosen, width, labels_right=True)


def _chosen(state: State, first: int, tokens: int, layers: int) -> tuple[int, int]:
    """The chosen position and layer (−1 is the embedding), inside what there is; at first the last token and layer."""
    position = state.number("position", tokens - 1, first, tokens - 1)
    return position, state.number("layer", layers - 1, -1, layers - 1)


def _move(state: State, **to: int) -> None:
    """Choose another cell and draw the page for it."""
    for name, value in to.items():
        state.set(name, value)
    st.rerun()


def _layers(state: State, model: Model, layer: int) -> None:
    """The layer whose reading and attention are shown; a click in the lens moves it too."""
    key = state.key("layer")
    if st.session_state.get(key) != layer:
        st.session_state[key] = layer
    st.select_slider(
        "Layer",
        range(-1, model.geometry.n_layers),
        key=key,
        format_func=lambda one: "embed" if one < 0 else str(one),
        on_change=lambda: state.set("layer", st.session_state[key]),
    )


def _tokens(state: State, model: Model, ids: list[int], first: int, position: int) -> None:
    """Every token as a button with its glyphs and id."""
    texts = model.str_tokens(ids)
    key = state.key("position")
    if st.session_state.get(key) != position:
        st.session_state[key] = position
    with st.container(height=MANY_PX if len(ids) - first > MANY_BUTTONS else "content", border=False):
        st.pills(
            f"{len(ids)} tokens{f', the last {MOST_TOKENS} shown' if first else ''}, each with its id; choose one",
            range(first, len(ids)),
            key=key,
            format_func=lambda place: f"{plain(glyphs(texts[place]))} :gray[:small[{ids[place]}]]",
            on_change=lambda: state.set("position", st.session_state[key]),
            required=True,
        )


def _next_tokens(run: Run, model: Model, ids: list[int], position: int, layer: int, wide: bool) -> None:
    """The model's next-token table for the chosen token and, if another layer is chosen, what is read after that."""
    last = model.geometry.n_layers - 1
    texts = [plain(glyphs(text)) for text in model.str_tokens(ids[position : position + 2])]
    follows = f" · the prompt goes on with {texts[1]}" if len(texts) == 2 else ""
    output, earlier = st.columns(2, gap="medium") if wide else (st.container(), st.container())
    with output:
        st.markdown(f"**Next token after {position} {texts[0]}**{follows}")
        top_tokens(predictions(run.frames, last, position))
    if layer != last:
        with earlier:
            st.markdown(f"**As read after {'the embedding' if layer < 0 else f'layer {layer}'}**")
            top_tokens(predictions(run.frames, layer, position).head(10 if wide else 5))


def _take(state: State, model: Model, run: Run, prompt: str) -> None:
    """Exports, scripts and the page with all options of the lens."""
    with st.expander("Export and script of the lens"):
        exports(state, run.analysis, "top_tokens", lambda: kept(model, run, prompt))
        link(
            LENS, "Open in Logit lens, with targets, entropy and distances", {"prompt": prompt}, ":material/experiment:"
        )
        script_panel(LENS, model.identity.as_dict(), {"request": {"prompt": prompt}}, run.spec)
