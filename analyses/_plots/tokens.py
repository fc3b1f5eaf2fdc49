"""Tokens as people can read them: whitespace and control characters made visible, labels unique on an axis."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

VISIBLE = {" ": "␣", "\n": "⏎", "\t": "→", "\r": "␍", "\x7f": "␡", "\u00a0": "⍽", "": "∅"}


def glyphs(token: str) -> str:
    """The token with every space, newline, tab, control or stray byte shown as a glyph; ``∅`` for an empty token.

    Control characters become their picture (U+2400…), bytes kept by ``surrogateescape`` become ``⟨80⟩``, and invisible
    format characters ``⟨U+200B⟩``. The replacement character of a byte no decoder could read is kept as it is.
    """
    return "".join(_glyph(letter) for letter in token) or VISIBLE[""]


def _glyph(letter: str) -> str:
    if letter in VISIBLE:
        return VISIBLE[letter]
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if 0xDC80 <= code <= 0xDCFF:
        return f"⟨{code - 0xDC00:02X}⟩"
    # A zero-width joiner inside an emoji is drawn with it only when the letters stay together, so it too is spelt out.
    if unicodedata.category(letter) in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}:
        return f"⟨U+{code:04X}⟩"
    return letter


def token_labels(tokens: Sequence[str], ids: Sequence[int] | None = None, limit: int = 12) -> list[str]:
    """One short, unique axis label a position: ``"4 ␣Mary"``; longer tokens are elided, the hover has the whole.

    ``ids`` are shown as well for tokens whose text does not identify them (bytes that are only part of a character).
    """
    labels = []
    for position, token in enumerate(tokens):
        shown = elide(glyphs(token), limit)
        if ids is not None and "\ufffd" in token:
            shown = f"{shown} #{ids[position]}"
        labels.append(f"{position} {shown}")
    return labels


def token_hovers(tokens: Sequence[str], ids: Sequence[int] | None = None) -> list[str]:
    """The whole of each token for a hover: ``"position 4: ␣Mary (id 6541)"``."""
    hovers = [f"position {position}: {glyphs(token)}" for position, token in enumerate(tokens)]
    return hovers if ids is None else [f"{hover} (id {token})" for hover, token in zip(hovers, ids, strict=True)]


def elide(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis when it has more than ``limit`` characters."""
    return text if len(text) <= limit else text[: max(limit - 1, 1)] + "…"
