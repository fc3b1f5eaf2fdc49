"""What a file in this folder provides: `SET = SetDefinition(...)`, named like the file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Literal

from hooks.pairs import PromptPair, Tokenises
from hooks.tasks import TaskPrompt

SetKind = Literal["pairs", "tasks", "texts"]
"""What a set or a file holds."""


@dataclass(frozen=True)
class LabelledText:
    """A text with the kind that it is of, such as its domain, and what it shares with others, such as its document."""

    text: str
    label: str
    group: str = ""


Item = PromptPair | TaskPrompt | LabelledText | str
"""One entry of a set: a pair, a task, or a text with or without a label."""

LICENCE = "CC0-1.0"
"""All shipped prompts are this project's own text, given to the public domain."""


@dataclass(frozen=True)
class Refusal:
    """An entry that the model cannot use: `reason` in full, `kind` in the words that refusals count by."""

    item: Item
    reason: str
    kind: str


def words(text: str) -> tuple[str, ...]:
    """The words of a text, for lists that would otherwise take a line a word."""
    return tuple(text.split())


Candidates = Callable[[random.Random, Tokenises], Iterator[Item | Refusal]]
"""Yields candidate entries, endless or not, drawn only from the given generator so that a seed fixes them.

Most sets ignore the tokenizer and leave alignment to the caller. A set that words its prompt to suit the tokenizer
asks it, and yields a Refusal where no wording fits.
"""


@dataclass(frozen=True)
class SetInfo:
    """What a reader wants to know of a set before using it."""

    name: str
    title: str
    description: str
    """The task, what the corrupted prompt changes, and what the answer means."""
    licence: str
    paper: str
    """Where the task comes from; our wording differs from it."""
    templates: tuple[str, ...]
    """The wordings, with the replaced parts in braces."""
    kind: SetKind = field(default="pairs", kw_only=True)
    """What its candidates are; tasks and texts need no alignment, only a model that can take them."""


@dataclass(frozen=True)
class SetDefinition(SetInfo):
    """A set's description together with the generator of its candidates."""

    candidates: Candidates

    @property
    def info(self) -> SetInfo:
        """The description alone, free of code, so that it can be shown and serialised."""
        return SetInfo(**{one.name: getattr(self, one.name) for one in fields(SetInfo)})
