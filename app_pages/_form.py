"""A form made from a pydantic spec: one widget a field, with its description, bounds, choices and default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor, log10
from typing import Any

import streamlit as st
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from analyses._contract import Analysis, Spec, uses
from app_pages._bench import workbench
from app_pages._state import State
from hooks.errors import InputError
from interp.options import bounds, choices, plain_type
from interp.runs import read_spec
from interp.using import offered

SMALL = 0.01
"""Numbers with a default below this are shown in full and stepped in its own size."""
FEW, NARROW = 4, 36
"""Up to this many choices are shown side by side, if their letters, with four more each for the frame, are no more."""


def remembered_spec(state: State, analysis: Analysis) -> Spec:
    """The spec that the page's state says. What a URL got wrong becomes the default, and is noted.

    Raises InputError when the values are valid one by one but not together.
    """
    given = {name: state.get(name) for name in analysis.spec.model_fields if name in state.values}
    for name, value in list(given.items()):
        if plain_type(analysis.spec.model_fields[name].annotation)[1] and isinstance(value, str):
            given[name] = [value] if value else []
        try:
            read_spec(analysis, {name: given[name]})
        except InputError as error:
            default = analysis.spec.model_fields[name].default
            state.note(name, None, f"{error}; the default, {default!r}, is used instead")
            state.set(name, None)
            del given[name]
    return read_spec(analysis, given)


def fields(state: State, analysis: Analysis, spec: Spec, names: Sequence[str]) -> Spec:
    """Widgets for the named fields, starting at `spec`; returns the spec they say. Raises InputError for bad values."""
    values = spec.model_dump(mode="json")
    for name in names:
        values[name] = _widget(state, name, analysis.spec.model_fields[name], values[name])
    chosen = read_spec(analysis, values)
    defaults = analysis.spec().model_dump(mode="json")
    for name, value in chosen.model_dump(mode="json").items():
        state.set(name, value if value != defaults[name] else None)
    return chosen


def one_of(state: State, name: str, label: str, options: Sequence[str], start: str, **more: Any) -> str:
    """Choices side by side, exactly one of them chosen; a start that is not offered counts as the first."""
    if start not in options and name in state.values:
        said = f"{name} {start!r} is not there, {options[0]} is shown instead; valid: {', '.join(options)}"
        state.note(name, options[0], said)
        state.set(name, options[0])
    key = state.seeded(name, start if start in options else options[0])
    if st.session_state[key] not in options:
        st.session_state[key] = options[0]
    return st.segmented_control(label, options, key=key, required=True, **more) or options[0]


def _widget(state: State, name: str, field: FieldInfo, value: Any) -> Any:
    element, many = plain_type(field.annotation)
    label = name.replace("_", " ")
    about = "; ".join(part for part in (field.description or "", bounds(field)) if part)
    named = list(choices(element))
    if named and many:
        return st.multiselect(label, named, key=state.seeded(name, list(value)), help=about)
    if named and len(named) <= FEW and sum(len(str(one)) + 4 for one in named) <= NARROW:
        return one_of(state, name, label, named, str(value), help=about, format_func=_worded)
    if named:
        return st.selectbox(label, named, key=state.seeded(name, value), help=about, format_func=_worded,
                            placeholder=_blank(field) or "choose one")  # fmt: skip
    if element is bool:
        return st.toggle(label, key=state.seeded(name, value), help=about)
    if many:
        return _many(state, name, element, label, about, value, _blank(field))
    if kind := uses(field):
        return _named(state, name, label, about, value, kind)
    if element in (int, float):
        return _number(state, name, field, element, label, about, value)
    text = st.text_input(label, key=state.seeded(name, "" if value is None else str(value)), help=about)
    return text if text or value == "" else None


def _named(state: State, name: str, label: str, about: str, value: Any, kind: str) -> Any:
    """A model or an artifact of this machine; a model may also be named by a path."""
    known = offered(kind, workbench().workspace)
    hint = "a model, or a folder's or file's path" if kind == "model" else f"no {kind} chosen"
    return st.selectbox(label, known, key=state.seeded(name, value), index=None, help=about, placeholder=hint,
                        accept_new_options=kind == "model")  # fmt: skip


def _number(state: State, name: str, field: FieldInfo, element: Any, label: str, about: str, value: Any) -> Any:
    limits: dict[str, Any] = {"min_value": None, "max_value": None}
    for bound in field.metadata:
        beyond = 1 if element is int else 0.0
        if isinstance(bound, Ge | Gt):
            limits["min_value"] = element(bound.ge if isinstance(bound, Ge) else bound.gt + beyond)  # type: ignore[operator]
        if isinstance(bound, Le | Lt):
            limits["max_value"] = element(bound.le if isinstance(bound, Le) else bound.lt - beyond)  # type: ignore[operator]
    limits["step"] = 1 if element is int else None
    if element is float and isinstance(field.default, float) and 0 < abs(field.default) < SMALL:
        # Two decimals, Streamlit's own, would show 0.002 as 0.00 and step past it.
        limits |= {"step": 10.0 ** floor(log10(abs(field.default))), "format": "%g"}
    if field.default is None:
        limits |= {"value": None, "placeholder": _blank(field)}
    return st.number_input(label, key=state.seeded(name, value), help=about, **limits)


def _many(state: State, name: str, element: Any, label: str, about: str, value: Any, blank: str | None) -> list[Any]:
    if element is str:
        key = state.seeded(name, "\n".join(value))
        text = st.text_area(label, key=key, help=f"{about}; one a line, spaces count", height=68, placeholder=blank)
        return [line for line in text.split("\n") if line]
    key = state.seeded(name, ", ".join(str(one) for one in value))
    text = st.text_input(label, key=key, help=f"{about}; for example 0, 10, 20-29", placeholder=blank)
    return [number for word in re.split(r"[,\s]+", text) if word for number in _numbers(name, word, element)]


def _blank(field: FieldInfo) -> str | None:
    """What an empty field stands for, as its description says it: "…; none means the last read"."""
    found = re.search(r"none (?:given )?means,? (.+)$", field.description or "")
    return found[1] if found else None


def _numbers(name: str, word: str, element: Any) -> list[Any]:
    """`7` or `3-6` as numbers."""
    try:
        if element is int and (found := re.fullmatch(r"(\d+)\s*[-–]\s*(\d+)", word)):
            return list(range(int(found[1]), int(found[2]) + 1))
        return [element(word)]
    except ValueError:
        raise InputError(f"option {name}: {word!r} is not a number; write for example 0, 10, 20-29") from None


def _worded(choice: str) -> str:
    return choice.replace("_", " ")
