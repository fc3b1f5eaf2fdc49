"""Prompt sets: those that ship (found by walking `data/sets/`) and a user's own file, aligned for the model in use."""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import data.sets
from data.sets._contract import Refusal, SetDefinition, SetInfo
from hooks.errors import InputError, unknown
from hooks.pairs import AlignedPair, PromptPair, Tokenises, align

CANDIDATES_PER_PAIR = 50
"""Candidates looked at for every pair asked for before giving up, so that no tokenizer can make generation endless."""


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
    stopped: str
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
    def summary(self) -> str:
        """One line: how many pairs align, how many were refused and why."""
        reasons = f" ({_counted(self.refused)})" if self.refused else ""
        ending = f"; {self.stopped}" if self.stopped else ""
        return f"{self.name}: {len(self.aligned)} of {self.wanted} pairs align; {len(self.refused)} refused{reasons}{ending}"


def names() -> list[str]:
    """The sets that ship: the public files of `data/sets/`, by name and without loading them."""
    return sorted(found.name for found in pkgutil.iter_modules(data.sets.__path__) if not found.name.startswith("_"))


def describe(name: str) -> SetInfo:
    """Title, description, licence, source and templates of one set.

    Raises:
        InputError: no such set (offers the nearest), or its file does not define one.
    """
    return _definition(name).info


def generate(name: str, model: Tokenises, limit: int = 32, seed: int = 0) -> PromptSet:
    """The first `limit` different pairs of a set that align for this model; the same seed gives the same pairs.

    A smaller limit gives the beginning of a larger one's pairs. At most `CANDIDATES_PER_PAIR * limit` candidates are drawn.

    Raises:
        InputError: no such set, a limit below 1, or no pair that aligns (with the reasons counted).
    """
    definition = _definition(name)
    if limit < 1:
        raise InputError(f"limit {limit}: a prompt set gives 1 pair or more")
    candidates = definition.candidates(random.Random(f"{name}/{seed}"), model)
    aligned, refused, drawn = _draw(model, candidates, limit)
    budget = CANDIDATES_PER_PAIR * limit
    stopped = "" if len(aligned) == limit else "stopped after {drawn} candidates" if drawn == budget else "the set has no more candidates"
    return _made(PromptSet(name, definition.title, definition.licence, aligned, refused, limit, stopped.format(drawn=drawn)))


def load_pairs_file(path: Path | str, model: Tokenises) -> PromptSet:
    """A user's pairs from a JSONL file: an object a line with `clean`, `corrupted`, `answer`, `distractor`, and maybe `label`.

    Blank lines are passed over. A well-formed pair that does not align, or repeats an earlier one, is refused and named by its line.

    Raises:
        InputError: a file that cannot be read as UTF-8 text, a line that is not such an object, or no pair that aligns.
    """
    file = Path(path)
    aligned: list[AlignedPair] = []
    refused: list[Refusal] = []
    seen: dict[PromptPair, int] = {}
    for number, line in _lines(file):
        pair = _parse(file, number, line)
        outcome = _attempt(model, pair)
        if pair in seen:
            outcome = Refusal(pair, f"the same pair as line {seen[pair]}", "repeated pair")
        seen.setdefault(pair, number)
        if isinstance(outcome, Refusal):
            refused.append(Refusal(pair, f"{file} line {number}: {outcome.reason}", outcome.kind))
        else:
            aligned.append(outcome)
    wanted = len(aligned) + len(refused)
    return _made(PromptSet(file.name, f"Pairs of {file.name}", "the user's own", tuple(aligned), tuple(refused), wanted, ""))


def _definition(name: str) -> SetDefinition:
    """Load one set's file, and only that one, so that a broken file harms no other set."""
    if name not in names():
        raise unknown("prompt set", name, names())
    importlib.invalidate_caches()
    found = getattr(importlib.import_module(f"data.sets.{name}"), "SET", None)
    if not isinstance(found, SetDefinition) or found.name != name:
        raise InputError(f"data/sets/{name}.py must define SET = SetDefinition(name={name!r}, ...)")
    return found


def _draw(
    model: Tokenises, candidates: Iterator[PromptPair | Refusal], limit: int
) -> tuple[tuple[AlignedPair, ...], tuple[Refusal, ...], int]:
    """Take candidates until `limit` align or the budget is spent: aligned, refused, number drawn. Repeats are passed over."""
    aligned: list[AlignedPair] = []
    refused: list[Refusal] = []
    seen: set[PromptPair] = set()
    drawn = 0
    for candidate in islice(candidates, CANDIDATES_PER_PAIR * limit):
        drawn += 1
        pair = candidate.pair if isinstance(candidate, Refusal) else candidate
        if pair in seen:
            continue
        seen.add(pair)
        outcome = candidate if isinstance(candidate, Refusal) else _attempt(model, candidate)
        if isinstance(outcome, Refusal):
            refused.append(outcome)
            continue
        aligned.append(outcome)
        if len(aligned) == limit:
            break
    return tuple(aligned), tuple(refused), drawn


def _attempt(model: Tokenises, pair: PromptPair) -> AlignedPair | Refusal:
    """Align the pair, or say why not."""
    try:
        return align(model, pair)
    except InputError as error:
        return Refusal(pair, str(error), _kind(model, pair))


def _kind(model: Tokenises, pair: PromptPair) -> str:
    """Why a pair does not align, in words that are the same for every such pair."""
    try:
        clean, corrupted = model.encode(pair.clean), model.encode(pair.corrupted)
    except InputError:
        return "a prompt the model cannot take"
    if len(clean) != len(corrupted):
        return "clean and corrupted differ in token count"
    for role, text in (("answer", pair.answer), ("distractor", pair.distractor)):
        try:
            model.single_token(text)
        except InputError:
            return f"{role} is not one token"
    return "clean and corrupted are the same" if clean == corrupted else "answer and distractor are the same token"


def _made(prompts: PromptSet) -> PromptSet:
    """The set, unless nothing in it aligns."""
    if prompts.aligned:
        return prompts
    first = f"; the first: {prompts.refused[0].reason}" if prompts.refused else ""
    raise InputError(f"nothing in {prompts.name} aligns for this model: {_counted(prompts.refused) or 'it holds no pairs'}{first}")


def _counted(refused: tuple[Refusal, ...]) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in Counter(one.kind for one in refused).most_common())


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, numbered from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as UTF-8 text: {error}") from error
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _parse(file: Path, number: int, line: str) -> PromptPair:
    """One line as a pair, or an error that names file, line and field."""
    where = f"{file} line {number}"
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected an object with clean, corrupted, answer, distractor, got {type(found).__name__}")
    allowed = [field.name for field in fields(PromptPair)]
    for key, value in found.items():
        if key not in allowed:
            raise InputError(f"{where}: {unknown('field', key, allowed)}")
        if not isinstance(value, str):
            raise InputError(f"{where}: {key} must be text, got {type(value).__name__}")
    missing = [key for key in allowed if key != "label" and not found.get(key)]
    if missing:
        raise InputError(f"{where}: missing or empty: {', '.join(missing)}")
    return PromptPair(**found)
