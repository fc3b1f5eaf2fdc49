"""The state of a page: kept in the session, mirrored in the URL; whoever opens that URL sees the same page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st

Plain = str | int | float | bool | None
LAG_S = 2.0
"""How long the browser may still report an address that this session has just replaced, in seconds."""


class State:
    """The values of one page by name; those from the URL are text or lists of text until a spec reads them."""

    def __init__(self, page: str) -> None:
        self.page = page
        pages: dict[str, dict[str, Any]] = st.session_state.setdefault("pages", {})
        self.values = pages.setdefault(page, {})
        notes: dict[str, dict[str, tuple[Any, str]]] = st.session_state.setdefault("notes", {})
        self.notes = notes.setdefault(page, {})

    def get(self, name: str, default: Any = None) -> Any:
        """A value, or the default."""
        return self.values.get(name, default)

    def number(self, name: str, default: int, low: int | None = None, high: int | None = None) -> int:
        """A whole number from `low` to `high`; what is none becomes the default or the nearest, and that is noted."""
        given = self.values.get(name, default)
        try:
            wanted = int(given)
        except (TypeError, ValueError):
            wanted = default
        number = wanted if low is None else max(wanted, low)
        number = number if high is None else min(number, high)
        if name in self.values and str(given) != str(number):
            valid = f"valid are {low} to {high}" if high is not None else "it must be a whole number"
            self.note(name, number, f"{name} {given!r} is not valid, {number} is shown instead: {valid}")
            self.set(name, number)
        return number

    def note(self, name: str, instead: Any, text: str) -> None:
        """Remember that `instead` stands where something else was asked for."""
        self.notes[name] = (instead, text)

    def noted(self) -> list[str]:
        """What was changed in the address, as long as nobody has chosen anything else since."""
        for name, (instead, _) in list(self.notes.items()):
            if self.values.get(name) != instead:
                del self.notes[name]
        return [text for _, text in self.notes.values()]

    def set(self, name: str, value: Any) -> None:
        """Remember a value; None forgets it."""
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value

    def replace(self, values: Mapping[str, Any]) -> None:
        """Forget everything and start from these values, in the widgets too."""
        self.values.clear()
        self.values.update({name: value for name, value in values.items() if value is not None})
        self.forget_widgets()

    def key(self, name: str) -> str:
        """The key of a widget of this page."""
        return f"{self.page}|{name}"

    def seeded(self, name: str, value: Any) -> str:
        """The key of a widget, which starts at `value` when the session has nothing for it yet."""
        key = self.key(name)
        if key not in st.session_state:
            st.session_state[key] = value
        return key

    def forget_widgets(self) -> None:
        """Let every widget of this page start again from the remembered values."""
        for key in [k for k in st.session_state if str(k).startswith(f"{self.page}|")]:
            del st.session_state[key]

    def publish(self, *names: str) -> None:
        """Put the values of these names into the URL, in this order."""
        shown = {name: _texts(self.values[name]) for name in names if name in self.values}
        url = urlencode(shown, doseq=True)
        addresses = _addresses()
        if addresses["now"] != url:
            addresses["then"][addresses["now"]] = time.monotonic()
            addresses["now"] = url
        if url != _written():
            st.query_params.from_dict(shown)


def open_page(page: str, *names: str) -> State:
    """The state of a page; an address that this session has not written itself replaces what it remembered.

    With `names`, the values a page has, any other in the address is noted.
    """
    state = State(page)
    url = _written()
    addresses = _addresses()
    if addresses["page"] != page:
        addresses.update({"page": page, "now": "", "then": {}})
        state.notes.clear()
    late = time.monotonic() - addresses["then"].get(url, -LAG_S) < LAG_S
    if url and url != addresses["now"] and not late:
        values = {name: st.query_params.get_all(name) for name in st.query_params}
        state.replace({name: many[0] if len(many) == 1 else many for name, many in values.items()})
        addresses["now"] = url
        state.notes.clear()
        for name in values.keys() - set(names or values):
            state.note(
                name, None, f"the address has {name!r}, which this page does not know; valid: {', '.join(names)}"
            )
            state.set(name, None)
    return state


def _addresses() -> dict[str, Any]:
    """The page shown, the query it has now, and when each query it had before was replaced."""
    found: dict[str, Any] = st.session_state.setdefault("addresses", {"page": None, "now": "", "then": {}})
    return found


def _written() -> str:
    return urlencode({name: st.query_params.get_all(name) for name in st.query_params}, doseq=True)


def _texts(value: Any) -> list[str]:
    many = value if isinstance(value, list | tuple) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in many] or [""]
