"""What an analysis looks at: one prompt, clean/corrupted pairs, tasks with their answers, or plain texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hooks.pairs import PromptPair
from hooks.tasks import TaskPrompt

Need = Literal["prompt", "pair", "pairs", "tasks", "texts"]
"""What an analysis may ask for: one prompt, exactly one pair, a set of pairs, tasks (one or more), texts (one or more).

Inputs that answer one: a set of which a single pair aligned is both "pair" and "pairs"; a pair given by itself is no
set, so it is "pair" alone.
"""


@dataclass(frozen=True)
class Inputs:
    """One of: a prompt, clean/corrupted pairs, tasks, texts.

    `set_name` says which set or file they come from, None for what was given directly. `note` tells people what is
    worth knowing, such as how many pairs were refused and why; it is not in a run's key, so `run` must not read it.
    `labels` say of each text what kind it is, its domain for example, and `groups` what texts belong together, such as
    pieces of a document; empty where no text has one.
    """

    prompt: str | None = None
    pairs: tuple[PromptPair, ...] = ()
    set_name: str | None = None
    note: str = ""
    tasks: tuple[TaskPrompt, ...] = ()
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def kinds(self) -> frozenset[Need]:
        """Every need that these inputs answer; none when nothing was given."""
        found: set[Need] = set()
        if self.prompt is not None:
            found.add("prompt")
        if len(self.pairs) == 1:
            found.add("pair")
        if self.pairs and (len(self.pairs) > 1 or self.set_name is not None):
            found.add("pairs")
        if self.tasks:
            found.add("tasks")
        if self.texts:
            found.add("texts")
        return frozenset(found)

    @property
    def read(self) -> tuple[str, ...]:
        """The texts that a model reads, in order: of pairs the clean prompts, of tasks the prompts alone."""
        prompts = () if self.prompt is None else (self.prompt,)
        return (*prompts, *(p.clean for p in self.pairs), *(task.text for task in self.tasks), *self.texts)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, for recipes, the store and examples; what is empty is left out."""
        pairs = [{k: v for k, v in vars(p).items() if k != "label" or v} for p in self.pairs]
        tasks = [task.as_dict() for task in self.tasks]
        given = {"prompt": self.prompt, "pairs": pairs or None, "set_name": self.set_name, "note": self.note or None,
                 "tasks": tasks or None, "texts": list(self.texts) or None,
                 "labels": list(self.labels) or None, "groups": list(self.groups) or None}  # fmt: skip
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Inputs:
        """The inverse of `as_dict`; anything else in `given` is passed over. Raises InputError for a bad task."""
        return cls(
            given.get("prompt"),
            tuple(PromptPair(**pair) for pair in given.get("pairs") or ()),
            given.get("set_name"),
            given.get("note", ""),
            tuple(TaskPrompt.from_dict(task) for task in given.get("tasks") or ()),
            tuple(given.get("texts") or ()),
            tuple(given.get("labels") or ()),
            tuple(given.get("groups") or ()),
        )
