"""Text on a page: tokens as chips, and words that Markdown must not read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import streamlit as st

from analyses._plots import glyphs

STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding: 2.2rem 2.4rem 4rem 2.4rem}
[data-testid="stHeader"] {background: transparent}
[data-testid="stSidebarHeader"] {height: 2.2rem}
.tokens {display: flex; flex-wrap: wrap; gap: 4px; align-items: stretch; margin: 2px 0 6px 0}
.st-key-sideways {overflow-x: auto; overflow-y: hidden; direction: rtl}
.st-key-sideways > * {direction: ltr; flex: none; max-width: none !important; width: max-content !important}
.stack {display: flex; flex-direction: column; gap: 2px}
.stack .token {flex: 1}
.names {font-size: .78rem; color: #57606A; padding: 6px 4px 0 0; flex: none}
.stack .names {flex: 1}
.token.absent {background: transparent; border-style: dashed; color: transparent}
.token {border: 1px solid #D0D7DE; border-radius: 5px; padding: 1px 6px 0 6px; background: #F6F8FA; text-align: center;
  font-family: "Source Code Pro", ui-monospace, monospace; font-size: .86rem; line-height: 1.25; white-space: pre}
.token small {display: block; color: #57606A; font-size: .66rem; font-family: "Source Sans", sans-serif}
.token.differs {background: #FDE9D9; border-color: #D55E00}
.token.wrong {background: #FBE3E4; border-color: #B2182B; color: #8A0F1F}
.token.chosen {background: #DCE9F5; border: 2px solid #2166AC; padding: 0 5px}
.checks {display: flex; flex-wrap: wrap; gap: 4px 5px; font-size: .72rem; margin: 0 0 2px 0}
.check {border-radius: 10px; padding: 1px 7px; border: 1px solid; white-space: nowrap; cursor: help}
.check.pass {color: #11663B; border-color: #9FD3B4; background: #EFF9F2}
.check.fail {color: #FFFFFF; border-color: #B2182B; background: #B2182B; font-weight: 600}
.check.note {color: #4A5560; border-color: #CBD2D9; background: #F4F6F8}
</style>"""

BELOW = "below each token: its position · its id"


def plain(text: object) -> str:
    """Text for a place that reads Markdown, with every sign that Markdown would act on made harmless."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:])", r"\\\1", str(text))


def html(body: str) -> None:
    """Our own HTML with our own classes."""
    st.html(STYLE + body)


def chip(text: str, below: str, kind: str = "", title: str = "") -> str:
    """One token as HTML: its glyphs, a small line below (position and id), and a class that colours it."""
    about = f' title="{escape(title)}"' if title else ""
    return f'<span class="token {kind}"{about}>{escape(glyphs(text))}<small>{escape(below)}</small></span>'


def token_row(tokens: Sequence[str], ids: Sequence[int], marks: dict[int, str] | None = None) -> str:
    """A row of chips as HTML; `marks` gives the class of some positions."""
    kinds = marks or {}
    chips = [
        chip(token, f"{place}·{number}", kinds.get(place, ""), f"position {place}, token id {number}")
        for place, (token, number) in enumerate(zip(tokens, ids, strict=True))
    ]
    return f'<div class="tokens">{"".join(chips)}<span class="names">{BELOW}</span></div>'


def stacked(names: Sequence[str], sides: Sequence[Sequence[tuple[str, int]]], marks: Sequence[dict[int, str]]) -> str:
    """Tokenised texts as HTML, position under position: `sides` hold (token, id), `marks` classes by position."""
    columns = ["".join(f'<span class="names">{escape(name)}</span>' for name in names)]
    for place in range(max(map(len, sides))):
        cells = [
            chip(side[place][0], f"{place}·{side[place][1]}", mark.get(place, ""), f"token id {side[place][1]}")
            if place < len(side)
            else chip("·", "no token", "absent")
            for side, mark in zip(sides, marks, strict=True)
        ]
        columns.append("".join(cells))
    stacks = "".join(f"<div class=stack>{column}</div>" for column in columns)
    return f'<div class="tokens">{stacks}</div><div class="names">{BELOW}</div>'
