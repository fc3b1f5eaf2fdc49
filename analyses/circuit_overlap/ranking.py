"""Rank correlations of two sides' scores: over all edges, and over those that are in either circuit."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyses._stats import Floats, ranks
from analyses.circuit_overlap.comparing import bounded, halves_of, spread
from analyses.circuit_overlap.selections import Circuits, Prompts, means_of_halves, means_without
from analyses.circuit_overlap.sides import Side

MEASURES = ("size of the score", "signed score")
SHUFFLES = 10


def correlation(one: Floats, other: Floats) -> Floats:
    """[measure] Spearman's of |score| and of the score; NaN where one is the same everywhere."""
    found = []
    for first, second in ((np.abs(one), np.abs(other)), (one, other)):
        if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
            found.append(np.nan)
        else:
            found.append(float(np.corrcoef(ranks(first), ranks(second))[0, 1]))
    return np.array(found)


def correlations(
    sides: tuple[Side, Side], circuits: tuple[dict[int | None, Circuits], dict[int | None, Circuits]],
    sizes: list[int | None], numbers: tuple[int, int], prompts: Prompts, seed: int,
) -> list[tuple[int | None, dict[str, Floats]]]:  # fmt: skip
    """(size, columns [measure]) for all edges (size None), then for each size those in either circuit.

    Over the strongest of either, unrelated scores are not at zero: an edge is there because one of its scores is
    large, so the other tends to be smaller. `shuffled` is what they give.
    """
    scores = sides[0].circuit.scores, sides[1].circuit.scores
    left = means_without(sides[0], prompts), means_without(sides[1], prompts)
    halves = means_of_halves(sides[0], prompts), means_of_halves(sides[1], prompts)
    rng = np.random.default_rng([seed, *numbers])
    shuffles = [rng.permutation(scores[1]) for _ in range(SHUFFLES)]
    found: list[tuple[int | None, dict[str, Floats]]] = []
    found.append((None, _columns(scores, left, halves, None, None, numbers, prompts, shuffles)))
    for size in sizes:
        if size is not None and size in circuits[0] and size in circuits[1]:
            mine = circuits[0][size], circuits[1][size]
            found.append((size, _columns(scores, left, halves, mine, size, numbers, prompts, shuffles)))
    return found


def _columns(
    scores: tuple[Floats, Floats], left: tuple[dict[int, Floats], dict[int, Floats]], halves: Any,
    circuits: tuple[Circuits, Circuits] | None, size: int | None, numbers: tuple[int, int], prompts: Prompts,
    shuffles: list[Floats],
) -> dict[str, Floats]:  # fmt: skip
    def measured(one: Floats, other: Floats, where: Any = None) -> Floats:
        return correlation(one, other) if where is None else correlation(one[where], other[where])

    def of_halves(one: Floats, other: Floats) -> Floats:
        # Halves' own circuits differ a little by pruning; the strongest of their scores stand for them.
        return measured(one, other, None if size is None else _either(one, other, size))

    whole = None if circuits is None else np.union1d(circuits[0].whole.edges, circuits[1].whole.edges)
    value, without, blocks = measured(*scores, whole), [], []
    for block in prompts.sample:
        if block not in left[0] and block not in left[1]:
            continue
        where = None
        if circuits is not None:
            edges = (one.without.get(block, one.whole).edges for one in circuits)
            where = np.union1d(*edges)
        without.append(measured(left[0].get(block, scores[0]), left[1].get(block, scores[1]), where))
        blocks.append(block)
    found = bounded(value, without, blocks, numbers, prompts, bool(left[0]) and bool(left[1]))
    chance = [of_halves(scores[0], shuffled) for shuffled in shuffles]
    random, low, high = spread(chance, value)
    return {
        "mean": found.value, "low": np.clip(found.low, -1, 1), "high": np.clip(found.high, -1, 1),
        **halves_of(halves[0], halves[1], of_halves, value), "shuffled": random, "shuffled_low": low,
        "shuffled_high": high,
    }  # fmt: skip


def _either(one: Floats, other: Floats, size: int) -> Any:
    """Numbers of the `size` strongest edges of either."""
    strongest = [np.argpartition(-np.abs(scores), size - 1)[:size] for scores in (one, other)]
    return np.union1d(*strongest)
