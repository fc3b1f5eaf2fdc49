"""Sets put to one model: what it can take, what it cannot, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from data.sets._contract import Item, LabelledText, Refusal, SetKind
from hooks.errors import InputError
from hooks.pairs import AlignedPair, PromptPair, Tokenises, align
from hooks.tasks import TaskPrompt

Taken = AlignedPair | TaskPrompt | LabelledText | str
"""What became of an entry that the model can take."""


@dataclass(frozen=True)
class PromptSet:
    """The entries that one model can take, in the order drawn, and those refused on the way.

    A set holds one kind: pairs that align, tasks, or texts; the other two are empty.
    """

    name: str
    title: str
    licence: str
    aligned: tuple[AlignedPair, ...]
    refused: tuple[Refusal, ...]
    wanted: int
    """How many entries were asked for."""
    stopped: str = ""
    """Why there are fewer than asked for; empty when there are not."""
    tasks: tuple[TaskPrompt, ...] = ()
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Of each text, where any has one."""
    groups: tuple[str, ...] = ()
    """Of each text, where any has one."""

    @property
    def pairs(self) -> tuple[PromptPair, ...]:
        """The aligned pairs as text."""
        return tuple(one.pair for one in self.aligned)

    @property
    def refusals(self) -> dict[str, int]:
        """How many entries were refused for each kind of reason, the most frequent first."""
        return dict(Counter(one.kind for one in self.refused).most_common())

    @property
    def reasons(self) -> str:
        """The refusals in words; empty when nothing was refused."""
        return ", ".join(f"{count} × {kind}" for kind, count in self.refusals.items())

    @property
    def summary(self) -> str:
        """One line: how many entries there are, how many were refused and why, and what stopped the drawing early."""
        taken = f"{len(self.tasks or self.texts)} of {self.wanted} {'tasks' if self.tasks else 'texts'}"
        taken = taken if self.tasks or self.texts else f"{len(self.aligned)} of {self.wanted} pairs align"
        counts = f"{self.name}: {taken}; {len(self.refused)} refused"
        return counts + (f" ({self.reasons})" if self.refused else "") + (f"; {self.stopped}" if self.stopped else "")


@dataclass(frozen=True)
class Sorted:
    """Entries by kind, in the order given; `labels` and `groups` of the texts, where any has one."""

    aligned: tuple[AlignedPair, ...]
    tasks: tuple[TaskPrompt, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]


def sorted_out(taken: Iterable[Taken]) -> Sorted:
    """Entries by kind."""
    many = tuple(taken)
    texts = [one if isinstance(one, LabelledText) else LabelledText(one, "") for one in many
             if isinstance(one, LabelledText | str)]  # fmt: skip
    return Sorted(
        tuple(one for one in many if isinstance(one, AlignedPair)),
        tuple(one for one in many if isinstance(one, TaskPrompt)),
        tuple(one.text for one in texts),
        tuple(one.label for one in texts) if any(one.label for one in texts) else (),
        tuple(one.group for one in texts) if any(one.group for one in texts) else (),
    )


def attempt(model: Tokenises, item: Item) -> Taken | Refusal:
    """Align a pair, see whether the model can take a task or text, or say why not."""
    try:
        if isinstance(item, PromptPair):
            return align(model, item)
        model.encode(item if isinstance(item, str) else item.text)
    except InputError as error:
        return Refusal(item, str(error), _kind(model, item))
    return item


def not_empty(prompts: PromptSet, kind: SetKind = "pairs") -> PromptSet:
    """The set itself. Raises InputError with the counted reasons when the model can take nothing in it."""
    if prompts.aligned or prompts.tasks or prompts.texts:
        return prompts
    first = f"; the first: {prompts.refused[0].reason}" if prompts.refused else ""
    reasons = prompts.reasons or f"it holds no {kind}"
    verb = "aligns" if kind == "pairs" else "will do"
    raise InputError(f"nothing in {prompts.name} {verb} for this model: {reasons}{first}")


def _kind(model: Tokenises, item: Item) -> str:
    """Why an entry cannot be used, in words that are the same for every such entry."""
    if not isinstance(item, PromptPair):
        return "a prompt the model cannot take"
    try:
        clean, corrupted = model.encode(item.clean), model.encode(item.corrupted)
    except InputError:
        return "a prompt the model cannot take"
    if len(clean) != len(corrupted):
        return "clean and corrupted differ in token count"
    if clean == corrupted:
        return "clean and corrupted are the same prompt"
    for role, text in (("answer", item.answer), ("distractor", item.distractor)):
        try:
            model.single_token(text)
        except InputError:
            return f"{role} is not one token"
    return "answer and distractor are the same token"
