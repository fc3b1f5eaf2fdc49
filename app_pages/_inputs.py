"""The inputs of an analysis: one prompt, a pair with its alignment shown token by token, or a shipped set of pairs."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

import streamlit as st

from analyses._contract import Analysis
from app_pages._bench import tell
from app_pages._form import one_of
from app_pages._state import State
from app_pages._text import chip, html, plain, stacked, token_row
from data import prompt_sets
from data.prompt_sets import PromptSet
from hooks.errors import InputError
from hooks.model import Model
from hooks.pairs import PromptPair, align
from hooks.trust import doubled_bos
from interp.inputs import Request

SIDES = ("clean", "corrupted", "answer", "distractor")
NAMES = ("prompt", *SIDES, "set", "limit", "seed", "file")
SOURCES = {"prompt": "One prompt", "pair": "One pair", "set": "Prompt set", "file": "Pairs from a file"}


def edit(state: State, analysis: Analysis, model: Model) -> Request:
    """Widgets for the inputs; returns what was asked for. What is wrong with it is said below the field."""
    offered = {"prompt": ["prompt"], "pair": ["pair"], "pairs": ["set", "file"]}
    sources = [source for need in ("prompt", "pair", "pairs") if need in analysis.needs for source in offered[need]]
    source = _source_of(state, sources)
    if len(sources) > 1:
        more: dict[str, Any] = {"format_func": lambda name: SOURCES[name], "label_visibility": "collapsed"}
        source = one_of(state, "source", "Input", sources, source, **more)
    request = {"prompt": _prompt, "pair": _pair, "set": _set, "file": _file}[source](state, analysis, model)
    for name in NAMES:
        state.set(name, request.get(name))
    state.values.setdefault("drafts", {}).update(request)
    return Request.from_dict(request)


def check(model: Model, request: Request) -> None:
    """Show what the model sees of the inputs, token by token, and what is wrong with them in one line."""
    try:
        if request.prompt is not None:
            show_prompt(model, request.prompt)
        elif request.set:
            _show_pairs(model, _generated(model, request.set, request.limit, request.seed))
        elif request.file:
            _show_pairs(model, prompt_sets.load_pairs_file(request.file, model))
        elif request.clean is not None:
            show_alignment(model, PromptPair(*(str(getattr(request, side)) for side in SIDES)))
    except InputError as error:
        tell(error)


def show_prompt(model: Model, prompt: str) -> None:
    """A prompt as chips; raises InputError for empty or too long ones."""
    ids = model.encode(prompt)
    html(token_row(model.str_tokens(ids), ids))
    warn(model, prompt, ids)


def warn(model: Model, prompt: str, ids: list[int]) -> None:
    """Say what is unusual about a prompt, if anything is."""
    if doubled_bos(model, ids):
        said = "The prompt starts with two beginning-of-sequence tokens, which no model saw in training: leave one out."
        st.warning(said, icon=":material/warning:")
    elif prompt.endswith(" "):
        said = (
            "The prompt ends with a space, which tokenizers usually put at the start of the next token: leave it out."
        )
        st.warning(said, icon=":material/warning:")


def _show_pairs(model: Model, made: PromptSet) -> None:
    st.caption(plain(made.summary))
    with st.expander("First pair, token by token"):
        show_alignment(model, made.pairs[0])


def example(analysis: Analysis) -> dict[str, Any]:
    """The worked example's inputs, by the names that a request has."""
    given = analysis.example
    if "prompt" in given:
        return {"prompt": given["prompt"]}
    if given.get("pairs"):
        return {side: given["pairs"][0][side] for side in SIDES}
    return {name: given[name] for name in ("set", "limit", "seed") if name in given}


def _start(state: State, analysis: Analysis, name: str, default: str = "") -> str:
    """What a field starts with: the page's state, what was typed before another source was chosen, the example."""
    return str(state.get(name, state.get("drafts", {}).get(name, example(analysis).get(name, default))))


def _source_of(state: State, sources: list[str]) -> str:
    for source, name in {"set": "set", "file": "file", "prompt": "prompt", "pair": "clean"}.items():
        if source in sources and name in state.values:
            return source
    return sources[0]


def _prompt(state: State, analysis: Analysis, model: Model) -> dict[str, Any]:
    start = _start(state, analysis, "prompt", "The capital of France is")
    prompt = st.text_area("Prompt", key=state.seeded("prompt", start), height=80)
    return {"prompt": prompt}


def _pair(state: State, analysis: Analysis, model: Model) -> dict[str, Any]:
    texts: dict[str, str] = {}
    for side, label in (("clean", "Clean prompt"), ("corrupted", "Corrupted prompt")):
        key = state.seeded(side, _start(state, analysis, side))
        texts[side] = st.text_input(label, key=key)
    left, right = st.columns(2)
    helps = "one token, with its leading space"
    for box, side, label in ((left, "answer", "Answer"), (right, "distractor", "Distractor")):
        key = state.seeded(side, _start(state, analysis, side))
        texts[side] = box.text_input(
            f"{label} (right for {'clean' if side == 'answer' else 'corrupted'})", key=key, help=helps
        )
    return dict(texts)


def show_alignment(model: Model, pair: PromptPair) -> None:
    """Both prompts as rows of chips, tokens that differ marked; in red where the lengths part. Errors are one line."""
    try:
        clean, corrupted = model.encode(pair.clean), model.encode(pair.corrupted)
    except InputError as error:
        tell(error)
        return
    kind = "differs" if len(clean) == len(corrupted) else "wrong"
    parts = [o[1:] for o in SequenceMatcher(None, clean, corrupted, autojunk=False).get_opcodes() if o[0] != "equal"]
    if kind == "differs":
        marks = [{i: kind for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b}] * 2
    else:
        marks = [{i: kind for part in parts for i in range(part[at], part[at + 1])} for at in (0, 2)]
    sides = [list(zip(model.str_tokens(ids), ids, strict=True)) for ids in (clean, corrupted)]
    names = (f"clean, {len(clean)} tokens", f"corrupted, {len(corrupted)} tokens")
    told = ((name, _answer(model, getattr(pair, name))) for name in ("answer", "distractor"))
    answers = "".join(f'<span class="names">{name}</span>{drawn}' for name, drawn in told)
    answers = f'<div class="tokens">{answers}</div>'
    html(stacked(names, sides, marks) + answers)
    try:
        align(model, pair)
        if not any(marks):
            st.warning("Both prompts are the same: there is nothing to patch.", icon=":material/warning:")
    except InputError as error:
        tell(error)


def _answer(model: Model, text: str) -> str:
    try:
        return chip(text, f"id {model.single_token(text)}")
    except InputError as error:
        return chip(text, "not one token", "wrong", str(error))


def _set(state: State, analysis: Analysis, model: Model) -> dict[str, Any]:
    names = prompt_sets.names()
    wanted = _start(state, analysis, "set", "ioi")
    left, middle, right = st.columns([3, 1, 1])
    titles = {name: prompt_sets.describe(name).title for name in names}
    start = wanted if wanted in names else names[0]
    if start != wanted:
        said = f"there is no prompt set {wanted!r}, {start} is taken instead; valid: {', '.join(names)}"
        state.note("set", start, said)
    name = left.selectbox(
        "Prompt set", names, key=state.seeded("set", start), format_func=lambda n: f"{titles[n]} ({n})"
    )
    limit = middle.number_input("Pairs", 1, 2000, key=state.seeded("limit", state.number("limit", 8, 1, 2000)))
    seed = right.number_input("Seed", 0, None, key=state.seeded("seed", state.number("seed", 0, 0)))
    info = prompt_sets.describe(name)
    st.caption(plain(f"{info.description} Licence {info.licence}; after {info.paper}."))
    return {"set": name, "limit": int(limit), "seed": int(seed)}


@st.cache_data(show_spinner="Drawing the prompt set", max_entries=16, hash_funcs={Model: lambda m: m.identity.revision})
def _generated(model: Model, name: str, limit: int, seed: int) -> PromptSet:
    return prompt_sets.generate(name, model, limit=limit, seed=seed)


def _file(state: State, analysis: Analysis, model: Model) -> dict[str, Any]:
    about = "a JSON object a line with clean, corrupted, answer, distractor; the path as the app's machine sees it"
    path = st.text_input("JSONL file", key=state.seeded("file", str(state.get("file", ""))), help=about)
    return {"file": path} if path else {}
