"""Guided decoding's runs: candidate chunks drawn after a text, and the text as each way of picking goes on with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analyses._answers import answered
from analyses.lookback.reading import Item, drawing
from analyses.lookback_detector.detector import Detector
from hooks.decoding import ABSENT
from hooks.lookback import Writing, write
from hooks.progress import Progress

if TYPE_CHECKING:
    from analyses.guided_decoding import GuidedSpec
    from hooks.model import Model

GREEDY, RANDOM, LIKELIEST, GUIDED, CEILING = "greedy", "one at random", "log-probability", "detector", "any candidate"
PICKING = (RANDOM, LIKELIEST, GUIDED)
"""Ways that draw the same number of candidates."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One chunk: its tokens, P(right) of its mean ratios, its mean log-probability; `over` where the text ended in it.

    A candidate without a token, which ends the text at once, has no P(right) (NaN) and is picked by nobody else but
    chance.
    """

    number: int
    tokens: tuple[int, ...]
    score: float
    log_prob: float
    over: bool


@dataclass(eq=False)
class Drawing:
    """One task's candidates by the text they follow: ways of picking that agree so far share what comes next."""

    model: Model
    item: Item
    detector: Detector
    spec: GuidedSpec
    ends: Callable[[int], bool]
    start: Writing
    after: dict[tuple[int, ...], tuple[Writing, list[Candidate]]] = field(default_factory=dict)

    def chunk(self, said: tuple[int, ...], writing: Writing) -> tuple[Writing, list[Candidate]]:
        """The candidates that follow `said`, and their texts being written."""
        if said not in self.after:
            spec, number = self.spec, len(said) // self.spec.chunk
            generator = torch.Generator().manual_seed((spec.draw_seed * 100_003 + self.item.number) * 101 + number)
            many = writing.taken([0] * spec.candidates)
            found = write(many, spec.chunk, choose=drawing(spec.temperature, spec.top_p, generator), ends=self.ends)
            self.after[said] = (many, [self._candidate(found, row) for row in range(spec.candidates)])
        return self.after[said]

    def _candidate(self, found: Any, row: int) -> Candidate:
        tokens = tuple(int(one) for one in found.tokens[row] if int(one) != ABSENT)
        count = len(tokens)
        if not count:
            return Candidate(row, (), float("nan"), float("nan"), True)
        ratios = found.ratios[row, :count].double().mean(dim=0).numpy()
        log_prob = float(found.log_probs[row, :count].mean())
        return Candidate(row, tokens, float(self.detector.probability(ratios)), log_prob, count < self.spec.chunk)

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        return str(self.model.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)) if tokens else ""

    def right(self, tokens: Sequence[int]) -> bool:
        """Whether the answer is in them."""
        return answered(self.text(tokens), self.item.answers, whole_words=True)


def picked(candidates: Sequence[Candidate], way: str) -> Candidate:
    """The candidate that a way of picking takes: the first with the largest score, or the first drawn."""
    if way == RANDOM:
        return candidates[0]
    scores = [one.score if way == GUIDED else one.log_prob for one in candidates]
    return candidates[0] if np.isnan(scores).all() else candidates[int(np.nanargmax(scores))]


def answers_of(
    model: Model, item: Item, detector: Detector, spec: GuidedSpec, ends: Callable[[int], bool], progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A task's answers, one row a way, and its candidates, one row each."""
    new = spec.chunk * spec.chunks
    start = Writing(model, torch.tensor([item.prompt]), item.region)
    task = Drawing(model, item, detector, spec, ends, start)
    greedy = [int(one) for one in write(start.taken([0]), new, ends=ends).tokens[0]]
    rows, picks = [_answer(task, GREEDY, greedy, 1)], dict[tuple[tuple[int, ...], int], list[str]]()
    for index, way in enumerate(PICKING):
        progress((index + 1) / (len(PICKING) + 1), way)
        said: tuple[int, ...] = ()
        writing = start
        for _ in range(spec.chunks):
            many, candidates = task.chunk(said, writing)
            one = picked(candidates, way)
            picks.setdefault((said, one.number), []).append(way)
            said += one.tokens
            if one.over:
                break
            writing = many.taken([one.number])
        rows.append(_answer(task, way, said, spec.candidates))
    told = [
        _candidate_row(task, said, one, picks.get((said, one.number), []))
        for said, (_, candidates) in task.after.items() for one in candidates
    ]  # fmt: skip
    any_right = any(row["right"] for row in told)
    return [*rows, {**rows[0], "way": CEILING, "candidates": spec.candidates, "said": "", "right": any_right}], told


def _answer(task: Drawing, way: str, tokens: Sequence[int], candidates: int) -> dict[str, Any]:
    item = task.item
    return {"task": item.number, "kind": item.kind or "tasks", "group": item.cluster, "way": way,
            "candidates": candidates, "gold": item.answers[0], "said": task.text(tokens),
            "right": task.right(tokens)}  # fmt: skip


def _candidate_row(task: Drawing, said: tuple[int, ...], one: Candidate, ways: Sequence[str]) -> dict[str, Any]:
    return {"task": task.item.number, "after": task.text(said), "candidate": one.number, "text": task.text(one.tokens),
            "score": one.score, "log_prob": one.log_prob, "right": task.right((*said, *one.tokens)),
            "picked_by": ", ".join(ways)}  # fmt: skip
