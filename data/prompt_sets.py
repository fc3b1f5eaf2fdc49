"""Prompt sets that ship, found by walking `data/sets/` and aligned for the model in use; a user's own file too."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Iterator
from itertools import islice

import data.sets
from data.aligned_pairs import PromptSet, attempt, not_empty
from data.pairs_file import load_pairs_file
from data.sets._contract import Refusal, SetDefinition, SetInfo
from hooks.errors import InputError, unknown
from hooks.pairs import AlignedPair, PromptPair, Tokenises

__all__ = [
    "CANDIDATES_PER_PAIR",
    "PromptSet",
    "Refusal",
    "SetInfo",
    "describe",
    "generate",
    "load_pairs_file",
    "names",
]

CANDIDATES_PER_PAIR = 50
"""Candidates looked at for every pair asked for before giving up, so that no tokenizer makes generation endless."""


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

    A smaller limit gives the beginning of a larger one's pairs. `CANDIDATES_PER_PAIR * limit` candidates are drawn
    at most; `stopped` says why there are fewer pairs than asked for, `refused` which pairs did not align.

    Raises:
        InputError: no such set, a limit below 1, or no pair that aligns (with the reasons counted).
    """
    definition = _definition(name)
    if limit < 1:
        raise InputError(f"limit {limit}: a prompt set gives 1 pair or more")
    candidates = definition.candidates(random.Random(f"{name}/{seed}"), model)
    aligned, refused = _draw(model, islice(candidates, CANDIDATES_PER_PAIR * limit), limit)
    stopped = "" if len(aligned) == limit else _why_fewer(candidates, CANDIDATES_PER_PAIR * limit)
    return not_empty(PromptSet(name, definition.title, definition.licence, aligned, refused, limit, stopped))


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
) -> tuple[tuple[AlignedPair, ...], tuple[Refusal, ...]]:
    """Take candidates until `limit` of them align or there are no more: aligned, refused. Repeats are passed over."""
    aligned: list[AlignedPair] = []
    refused: list[Refusal] = []
    seen: set[PromptPair] = set()
    for candidate in candidates:
        pair = candidate.pair if isinstance(candidate, Refusal) else candidate
        if pair in seen:
            continue
        seen.add(pair)
        outcome = candidate if isinstance(candidate, Refusal) else attempt(model, candidate)
        if isinstance(outcome, Refusal):
            refused.append(outcome)
            continue
        aligned.append(outcome)
        if len(aligned) == limit:
            break
    return tuple(aligned), tuple(refused)


def _why_fewer(candidates: Iterator[PromptPair | Refusal], budget: int) -> str:
    more = next(candidates, None) is not None
    return f"stopped after {budget} candidates" if more else "the set has no more candidates"
