"""The inputs of an analysis on its page: a form for every way of asking, and below it what the model sees of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from analyses._contract import Analysis
from app_pages._bench import tell
from app_pages._form import one_of
from app_pages._preview import show_alignment, show_prompt, show_set, show_task, warn
from app_pages._state import State
from app_pages._text import plain
from data import prompt_sets
from data.prompt_sets import PromptSet
from hooks.errors import InputError
from hooks.model import Model
from hooks.pairs import PromptPair
from hooks.tasks import TaskPrompt
from interp.input_kinds import ASKED, SIDES, WAYS, WayName, set_kinds, task_fields, task_of, way_of
from interp.inputs import Request

__all__ = ["NAMES", "check", "edit", "example", "show_alignment", "show_prompt", "warn"]

NAMES = tuple(ASKED)
Fields = dict[str, Any]


def edit(state: State, analysis: Analysis, model: Model) -> Request:
    """Widgets for the inputs; returns what was asked for. What is wrong with it is said below the field."""
    ways = _offered(analysis)
    way = _way_of(state, analysis, ways)
    if len(ways) > 1:
        more: dict[str, Any] = {"format_func": _title, "label_visibility": "collapsed"}
        chosen = one_of(state, "source", "Input", ways, way, **more)
        way = next(one for one in ways if one == chosen)
    request = _FORMS[way](state, analysis)
    for name in NAMES:
        state.set(name, request.get(name))
    state.values.setdefault("drafts", {}).update(request)
    return Request.from_dict(request)


def check(model: Model, request: Request) -> None:
    """Show what the model sees of the inputs, token by token, and what is wrong with them in one line."""
    try:
        way = way_of(vars(request))
        if way is not None:
            _PREVIEWS[way](model, request)
    except InputError as error:
        tell(error)


def _offered(analysis: Analysis) -> list[WayName]:
    """The ways of asking that this analysis has a use for; one pair alone is asked for by its fields, not as a set."""
    needs = set(analysis.needs)
    several = needs - {"prompt", "pair"}
    held = {prompt_sets.describe(name).kind for name in prompt_sets.names()} if several else set()
    useful: dict[WayName, bool] = {way: bool(one.needs & needs) for way, one in WAYS.items()}
    useful["set"] = bool(held & set(set_kinds(several)))
    useful["file"] = bool(several)
    return [way for way in WAYS if useful[way]]


def _title(way: WayName) -> str:
    return WAYS[way].title


def _way_of(state: State, analysis: Analysis, ways: list[WayName]) -> WayName:
    """The way that the page's values are, else that of the example, else the first."""
    for values in (state.values, example(analysis)):
        given = {name: values[name] for name in NAMES if name in values}
        try:
            way = way_of(given, analysis.needs)
        except InputError:
            # An address that names two ways: a set or a file is more than the prompt beside it.
            way = next((one for one in ("set", "file", "pair", "task", "prompt") if WAYS[one].fields[0] in given), None)
        if way in ways:
            return way
    return ways[0]


def example(analysis: Analysis) -> Fields:
    """The worked example's inputs, by the names that a request has."""
    given = analysis.example
    if given.get("pairs"):
        return {side: given["pairs"][0][side] for side in SIDES}
    if given.get("tasks"):
        return task_fields(TaskPrompt.from_dict(given["tasks"][0]))
    return {name: given[name] for name in NAMES if name in given}


def _start(state: State, analysis: Analysis, name: str, default: Any = "") -> Any:
    """What a field starts with: the page's state, what was typed before another source was chosen, the example."""
    return state.get(name, state.get("drafts", {}).get(name, example(analysis).get(name, default)))


def _text(state: State, analysis: Analysis, name: str, default: str = "") -> str:
    """The key of a field of text, which starts as it should."""
    return state.seeded(name, str(_start(state, analysis, name, default)))


def _prompt(state: State, analysis: Analysis) -> Fields:
    key = _text(state, analysis, "prompt", "The capital of France is")
    return {"prompt": st.text_area("Prompt", key=key, height=80)}


def _pair(state: State, analysis: Analysis) -> Fields:
    texts: Fields = {}
    for side, label in (("clean", "Clean prompt"), ("corrupted", "Corrupted prompt")):
        texts[side] = st.text_input(label, key=_text(state, analysis, side))
    left, right = st.columns(2)
    helps = "one token, with its leading space"
    for box, side, label in ((left, "answer", "Answer"), (right, "distractor", "Distractor")):
        said = f"{label} (right for {'clean' if side == 'answer' else 'corrupted'})"
        texts[side] = box.text_input(said, key=_text(state, analysis, side), help=helps)
    return texts


def _task(state: State, analysis: Analysis) -> Fields:
    prompt = st.text_area("Prompt", key=_text(state, analysis, "prompt", "The capital of France is"), height=80)
    answer = st.text_input("Answer", key=_text(state, analysis, "answer"), help="a name that a right continuation has")
    left, right = st.columns(2)
    aliases = _lines(left, state, analysis, "alias", "Aliases", "other names that count as the answer, one a line")
    spans = _lines(right, state, analysis, "span", "Spans", "parts of the prompt by role, one a line: subject=France")
    told = {"prompt": prompt, "answer": answer, "alias": aliases, "span": spans}
    return {name: value for name, value in told.items() if value != []}


def _lines(box: Any, state: State, analysis: Analysis, name: str, label: str, about: str) -> list[str]:
    given = _start(state, analysis, name, [])
    key = state.seeded(name, given if isinstance(given, str) else "\n".join(given))
    return [line.strip() for line in box.text_area(label, key=key, help=about, height=68).split("\n") if line.strip()]


def _set(state: State, analysis: Analysis) -> Fields:
    kinds = set_kinds(analysis.needs)
    infos = {name: info for name in prompt_sets.names() if (info := prompt_sets.describe(name)).kind in kinds}
    names = list(infos)
    wanted = str(_start(state, analysis, "set", "ioi" if "ioi" in names else names[0]))
    left, middle, right = st.columns([3, 1, 1])
    start = wanted if wanted in names else names[0]
    if start != wanted:
        said = f"there is no prompt set {wanted!r} here, {start} is taken instead; valid: {', '.join(names)}"
        state.note("set", start, said)
    key = state.seeded("set", start)
    name = left.selectbox("Prompt set", names, key=key, format_func=lambda n: f"{infos[n].title} ({n})")
    few = int(example(analysis).get("limit", 8))
    key = state.seeded("limit", state.number("limit", few, 1, 2000))
    limit = middle.number_input(infos[name].kind.capitalize(), 1, 2000, key=key)
    seed = right.number_input("Seed", 0, None, key=state.seeded("seed", state.number("seed", 0, 0)))
    st.caption(plain(f"{infos[name].description} Licence {infos[name].licence}; after {infos[name].paper}."))
    return {"set": name, "limit": int(limit), "seed": int(seed)}


def _file(state: State, analysis: Analysis) -> Fields:
    formats = {
        "pairs": "a JSON object a line with clean, corrupted, answer, distractor",
        "tasks": "a JSON object a line with text and answers",
        "texts": "a text a line, or JSONL or Parquet with text",
    }
    about = "; or ".join(formats[kind] for kind in set_kinds(analysis.needs))
    key = state.seeded("file", str(state.get("file", "")))
    path = st.text_input("File", key=key, help=f"{about}; the path as the app's machine sees it")
    return {"file": path} if path else {}


_FORMS: Mapping[WayName, Callable[[State, Analysis], Fields]] = {
    "prompt": _prompt,
    "pair": _pair,
    "task": _task,
    "set": _set,
    "file": _file,
}


@st.cache_data(show_spinner="Drawing the prompt set", max_entries=16, hash_funcs={Model: lambda m: m.identity.revision})
def _generated(model: Model, name: str, limit: int, seed: int) -> PromptSet:
    return prompt_sets.generate(name, model, limit=limit, seed=seed)


_PREVIEWS: Mapping[WayName, Callable[[Model, Request], None]] = {
    "prompt": lambda model, request: show_prompt(model, str(request.prompt)),
    "pair": lambda model, request: show_alignment(model, PromptPair(*(str(getattr(request, s)) for s in SIDES))),
    "task": lambda model, request: show_task(model, task_of(vars(request))),
    "set": lambda model, asked: show_set(model, _generated(model, str(asked.set), asked.limit, asked.seed)),
    "file": lambda model, request: show_set(model, prompt_sets.load_file(str(request.file), model)),
}
