"""How well scores of nodes agree, prompt by prompt: rank correlations, and how well each method foretells the truth.

A method's scores are [pair node]; NaN where it says nothing. Two methods are compared over the nodes and pairs of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt

from analyses._stats import Bools, Estimate, Floats, mean_interval, rank_correlation
from analyses._stats.checks import none_of
from analyses.circuit_agreement.scoring import SIGNLESS, TRUTH

Scores = Mapping[str, Floats]
Places = npt.NDArray[np.intp]
Measure = Callable[[Floats, Floats], float]
"""Two methods' scores of the same nodes → one number."""
SIZE, AMONG, SIGNED, TOP, SIGN, EXPLAINED = "size", "among", "signed", "top", "sign", "explained"
UNSIGNED = (SIZE, AMONG, TOP)
"""Measures that ask for no sign."""
LOWEST = {TOP: 0.0, SIGN: 0.0, EXPLAINED: -np.inf}
"""The least a measure can be, −1 for correlations; 1 is the most of all."""
NOTHING = Estimate(*none_of(np.asarray(np.nan)))


def by_size(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of the sizes; NaN where all of one are equal."""
    return float(rank_correlation(np.abs(one), np.abs(other)).value)


def by_sign(one: Floats, other: Floats) -> float:
    """The same with signs."""
    return float(rank_correlation(one, other).value)


def strongest(scores: Floats, count: int) -> Bools:
    """[node] bool: the `count` largest sizes; of equal ones the first."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-np.abs(scores), kind="stable")[:count]] = True
    return chosen


def top_of(top: int, nodes: int) -> int:
    """How many nodes are compared as the strongest: `top`, but never more than half of them."""
    return max(1, min(top, nodes // 2))


def precision(top: int) -> Measure:
    """The share of one's strongest nodes that are among the other's strongest."""

    def read(one: Floats, other: Floats) -> float:
        count = top_of(top, len(one))
        return float((strongest(one, count) & strongest(other, count)).sum() / count)

    return read


def among(top: int) -> Measure:
    """`by_size` over the truth's (the second's) strongest nodes alone."""

    def read(one: Floats, truth: Floats) -> float:
        chosen = strongest(truth, top_of(top, len(one)))
        return by_size(one[chosen], truth[chosen])

    return read


def same_sign(top: int) -> Measure:
    """Of the truth's (the second's) strongest nodes, the share whose sign the first has right."""

    def read(one: Floats, truth: Floats) -> float:
        chosen = strongest(truth, top_of(top, len(one)))
        return float((np.sign(one[chosen]) == np.sign(truth[chosen])).mean())

    return read


def explained(one: Floats, truth: Floats) -> float:
    """1 − Σ (estimate − truth)² / Σ truth²: 1 is perfect, 0 what saying 0 everywhere gives; large effects rule."""
    total = float((truth**2).sum())
    return 1 - float(((one - truth) ** 2).sum()) / total if total else float("nan")


def together(one: Floats, other: Floats) -> tuple[Places, Places, Floats]:
    """(pairs, nodes, both [method pair node]): where neither is NaN."""
    there = np.isfinite(one) & np.isfinite(other)
    pairs, nodes = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return pairs, nodes, np.stack([one[np.ix_(pairs, nodes)], other[np.ix_(pairs, nodes)]])


def over_pairs(values: Floats) -> Estimate:
    """Mean and interval over the pairs [pair] that have a number; NaN where none has."""
    kept = values[np.isfinite(values)]
    return mean_interval(kept) if len(kept) else NOTHING


def within(found: Estimate, measure: str) -> Estimate:
    """The same with an interval that keeps to what the measure can be: Student's of a few prompts knows no bounds."""
    low, high = (np.clip(end, LOWEST.get(measure, -1.0), 1.0) for end in (found.low, found.high))
    return Estimate(found.value, low, high)


def each(measure: Measure, both: Floats) -> Floats:
    """[pair] a measure of both [method pair node]."""
    return np.array([measure(one, other) for one, other in zip(*both, strict=True)])


def signless(*methods: str) -> bool:
    """Whether one of them says only how much."""
    return any(method in SIGNLESS for method in methods)


def agreement_rows(scores: Scores) -> list[dict[str, Any]]:
    """Every two methods, and each with itself, by size and, where both have signs, with them."""
    rows = []
    for first, second in combinations_with_replacement(scores, 2):
        _, nodes, both = together(scores[first], scores[second])
        for by, measure in ((SIZE, by_size), (SIGNED, by_sign)):
            if by == SIGNED and signless(first, second):
                continue
            found = within(over_pairs(each(measure, both)), by)
            rows.append({
                "first": first, "second": second, "by": by, "nodes": len(nodes), **named(found, "correlation"),
                "of_means": measure(*both.mean(axis=1)), "prompts": both.shape[1],
            })  # fmt: skip
    return rows


def prediction_rows(scores: Scores, top: int) -> list[dict[str, Any]]:
    """Every method against the truth, by each measure, and its difference to the best on the same nodes and pairs."""
    measures: dict[str, Measure] = {
        SIZE: by_size, AMONG: among(top), SIGNED: by_sign, TOP: precision(top), SIGN: same_sign(top),
        EXPLAINED: explained,
    }  # fmt: skip
    methods = [name for name in scores if name != TRUTH]
    rows = []
    for name, measure in measures.items():
        able = [method for method in methods if name in UNSIGNED or not signless(method)]
        best = _best(scores, able, measure)
        rows += [_predicted(scores, method, best, name, measure, top) for method in able]
    return rows


def _best(scores: Scores, methods: list[str], measure: Measure) -> str | None:
    """The method with the largest mean of those that score every node of every pair; the first of equal ones."""
    whole = [method for method in methods if np.isfinite(scores[method]).all()]
    means = {
        method: float(over_pairs(each(measure, np.stack([scores[method], scores[TRUTH]]))).value) for method in whole
    }
    known = [method for method in whole if np.isfinite(means[method])]
    return max(known, key=lambda method: round(means[method], 9), default=None)


def _predicted(
    scores: Scores, method: str, best: str | None, name: str, measure: Measure, top: int
) -> dict[str, Any]:  # fmt: skip
    pairs, nodes, both = together(scores[method], scores[TRUTH])
    own = each(measure, both)
    difference = NOTHING
    if best is not None and best != method:
        places = np.ix_(pairs, nodes)
        difference = over_pairs(own - each(measure, np.stack([scores[best][places], both[1]])))
    chance = {TOP: top_of(top, len(nodes)) / len(nodes), SIGN: 0.5}.get(name, 0.0)
    return {
        "measure": name, "method": method, **named(within(over_pairs(own), name), "mean"), "chance": chance,
        "of_means": measure(*both.mean(axis=1)), "best": method == best,
        **named(difference, "difference", "difference_low", "difference_high"),
        "nodes": len(nodes), "prompts": len(pairs),
    }  # fmt: skip


def named(found: Estimate, value: str, low: str = "low", high: str = "high") -> dict[str, float]:
    """An estimate as columns."""
    return {name: float(number) for name, number in zip((value, low, high), found, strict=True)}
