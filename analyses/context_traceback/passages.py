"""A prompt's passages as tokens, and the prompts that are left when some of them are taken out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hooks.errors import InputError, about
from hooks.spans import in_order, token_ranges
from hooks.tasks import TaskPrompt

if TYPE_CHECKING:
    from hooks.model import Model

SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|(?=\n)|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Passages:
    """A task's prompt cut into passages.

    Attributes:
        ids: the whole prompt's tokens.
        owner: by token, the passage that it belongs to, −1 outside; a passage has the white space after it.
        scored: by token, whether it has more than white space in it.
        texts: the passages, in order.
    """

    number: int
    task: TaskPrompt
    ids: tuple[int, ...]
    owner: tuple[int, ...]
    scored: tuple[bool, ...]
    texts: tuple[str, ...]

    def kept(self, chosen: Sequence[int]) -> list[int]:
        """Positions of the tokens that remain when the passages `chosen` are shown and the others are not."""
        shown = {-1, *chosen}
        return [at for at, owner in enumerate(self.owner) if owner in shown]


def passages_of(model: Model, number: int, task: TaskPrompt, role: str) -> Passages:
    """The prompt cut at spans `role`, `role 2` …; at the sentences of the only such span; without one, at its own.

    A prompt's last sentence is the question and no passage.

    Raises:
        InputError: fewer than two passages, passages out of the prompt's order, or one that splits a token.
    """
    with about(f"task {number}"):
        ranges = _ranges(model, task, role)
    if len(ranges) < 2:
        raise InputError(
            f"task {number}: {len(ranges)} passage in {task.text[:60]!r}; at least two are ranked. Give spans "
            f"{role!r}, '{role} 2' …, or one span {role!r} of several sentences or lines"
        )
    ids = model.encode(task.text)
    owner, scored = [], []
    starts = [start for start, _ in ranges]
    ends = [end + len(task.text[end:]) - len(task.text[end:].lstrip()) for _, end in ranges]
    for first, last in token_ranges(model, task.text, ids):
        piece = task.text[first:last]
        blank = not piece.strip()
        at = first if blank else first + len(piece) - len(piece.lstrip())
        inside = [one for one, (start, end) in enumerate(zip(starts, ends, strict=True)) if start <= at < end]
        owner.append(inside[0] if inside else -1)
        scored.append(not blank)
    texts = tuple(task.text[start:end] for start, end in ranges)
    for one, text in enumerate(texts):
        if not any(mine == one and some for mine, some in zip(owner, scored, strict=True)):
            raise InputError(f"task {number}: passage {text!r} has no token of its own")
    return Passages(number, task, tuple(ids), tuple(owner), tuple(scored), texts)


def _ranges(model: Model, task: TaskPrompt, role: str) -> list[tuple[int, int]]:
    """[first character, one after the last) of every passage, in order; equal texts stand for one place each."""
    named = {name: part for name, part in task.spans if re.fullmatch(rf"{re.escape(role)}( \d+)?", name)}
    parts = [named[name] for name in sorted(named, key=lambda name: int(name[len(role) :] or 1))]
    if len(parts) > 1:
        return in_order(model, task.text, parts)
    start = task.text.index(parts[0]) if parts else 0
    inside = parts[0] if parts else task.text
    found = [(start + one.start(), start + one.end()) for one in SENTENCE.finditer(inside)]
    return found if parts else found[:-1]


def check_draws(passages: int, draws: int, share: float) -> int:
    """How many passages a draw shows. Raises InputError where the draws cannot show every passage."""
    shown = max(1, min(passages, round(share * passages)))
    if draws * shown < passages:
        raise InputError(
            f"draws {draws}: with {shown} shown in each they cannot show all {passages} passages; give more draws or a "
            "larger share"
        )
    return shown


def drawn(passages: int, draws: int, share: float, rng: np.random.Generator) -> list[list[int]]:
    """Which passages each draw shows, in the prompt's order: those shown least so far, equals at random."""
    shown, counts, found = check_draws(passages, draws, share), np.zeros(passages), []
    for _ in range(draws):
        chosen = np.lexsort((rng.random(passages), counts))[:shown]
        counts[chosen] += 1
        found.append(sorted(int(one) for one in chosen))
    return found


def top_mean(weights: np.ndarray, top: int) -> float:
    """Mean of the `top` largest weights [token], of all where there are fewer."""
    return float(np.sort(weights)[::-1][:top].mean())


def passage_scores(
    weights: np.ndarray, one: Passages, kept: Sequence[int], score: Callable[[np.ndarray], float], *, first_token: bool
) -> dict[int, float]:
    """By passage shown, the score of its tokens' weights; `weights` [kept] are those of the prompt that was read.

    Without `first_token` the first token read counts for nothing, unless a passage has no other.
    """
    found: dict[int, list[float]] = {}
    for place, at in enumerate(kept):
        if one.owner[at] >= 0 and one.scored[at]:
            mine = found.setdefault(one.owner[at], [])
            mine.append(float(weights[place]))
            if place == 0 and not first_token and _tokens(one, one.owner[at]) > 1:
                mine.pop()
    return {passage: score(np.array(mine)) for passage, mine in found.items()}


def _tokens(one: Passages, passage: int) -> int:
    return sum(mine == passage and some for mine, some in zip(one.owner, one.scored, strict=True))
