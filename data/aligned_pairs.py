"""Pairs put to one model: those that align, those that do not, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from data.sets._contract import Refusal
from hooks.errors import InputError
from hooks.pairs import AlignedPair, PromptPair, Tokenises, align


@dataclass(frozen=True)
class PromptSet:
    """The pairs that align for one model, in the order drawn, and those refused on the way."""

    name: str
    title: str
    licence: str
    aligned: tuple[AlignedPair, ...]
    refused: tuple[Refusal, ...]
    wanted: int
    """How many pairs were asked for."""
    stopped: str = ""
    """Why there are fewer than asked for; empty when there are not."""

    @property
    def pairs(self) -> tuple[PromptPair, ...]:
        """The aligned pairs as text."""
        return tuple(one.pair for one in self.aligned)

    @property
    def refusals(self) -> dict[str, int]:
        """How many pairs were refused for each kind of reason, the most frequent first."""
        return dict(Counter(one.kind for one in self.refused).most_common())

    @property
    def reasons(self) -> str:
        """The refusals in words; empty when nothing was refused."""
        return ", ".join(f"{count} × {kind}" for kind, count in self.refusals.items())

    @property
    def summary(self) -> str:
        """One line: how many pairs align, how many were refused and why, and what stopped the drawing early."""
        counts = f"{self.name}: {len(self.aligned)} of {self.wanted} pairs align; {len(self.refused)} refused"
        return counts + (f" ({self.reasons})" if self.refused else "") + (f"; {self.stopped}" if self.stopped else "")


def attempt(model: Tokenises, pair: PromptPair) -> AlignedPair | Refusal:
    """Align the pair, or say why not."""
    try:
        return align(model, pair)
    except InputError as error:
        return Refusal(pair, str(error), _kind(model, pair))


def not_empty(prompts: PromptSet) -> PromptSet:
    """The set itself. Raises InputError with the counted reasons when nothing in it aligns."""
    if prompts.aligned:
        return prompts
    first = f"; the first: {prompts.refused[0].reason}" if prompts.refused else ""
    reasons = prompts.reasons or "it holds no pairs"
    raise InputError(f"nothing in {prompts.name} aligns for this model: {reasons}{first}")


def _kind(model: Tokenises, pair: PromptPair) -> str:
    """Why a pair does not align, in words that are the same for every such pair."""
    try:
        clean, corrupted = model.encode(pair.clean), model.encode(pair.corrupted)
    except InputError:
        return "a prompt the model cannot take"
    if len(clean) != len(corrupted):
        return "clean and corrupted differ in token count"
    if clean == corrupted:
        return "clean and corrupted are the same prompt"
    for role, text in (("answer", pair.answer), ("distractor", pair.distractor)):
        try:
            model.single_token(text)
        except InputError:
            return f"{role} is not one token"
    return "answer and distractor are the same token"
