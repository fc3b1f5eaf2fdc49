"""A small real tokenizer: words with their leading space, and digits in groups of a chosen size."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hooks.errors import InputError


class Words:
    """Splits text into words (with the space before them), groups of digits, and single other characters.

    `digits` is how many digits a token takes at most, from the left; `long_words` are split in two.
    """

    def __init__(self, digits: int = 1, long_words: frozenset[str] = frozenset()) -> None:
        self._pattern = re.compile(rf" ?[^\W\d_]+|\d{{1,{digits}}}|.", re.DOTALL)
        self._long = long_words
        self._texts: list[str] = []
        self._ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        if not text:
            raise InputError("the prompt is empty")
        return [self._id(piece) for found in self._pattern.findall(text) for piece in self._pieces(found)]

    def str_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._texts[i] for i in ids]

    def single_token(self, text: str) -> int:
        ids = self.encode(text)
        if len(ids) != 1:
            raise InputError(f"{text!r} is {len(ids)} tokens")
        return ids[0]

    def _pieces(self, found: str) -> tuple[str, ...]:
        return (found[:2], found[2:]) if found.strip() in self._long else (found,)

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._texts)
            self._texts.append(piece)
        return self._ids[piece]
