"""Two sides compared at one size: how much they share, beside what halves of one share and what chance gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from analyses._stats import Bools, Estimate, Floats
from analyses.circuit_overlap.intervals import jackknife
from analyses.circuit_overlap.selections import Chosen, Circuits, Prompts

WHAT = ("edges", "nodes", "heads")
MEASURES = ("Jaccard", "share of first", "share of second")
SETS = 1000
"""Draws of random sets of nodes."""


def shared(one: Chosen, other: Chosen, heads: Bools) -> Floats:
    """[what measure] of two circuits: |both| over |either|, |first| and |second|.

    NaN where that is nothing, and everywhere for a circuit without edges: there is none of that size.
    """
    if not len(one.edges) or not len(other.edges):
        return np.full((len(WHAT), len(MEASURES)), np.nan)
    common = len(np.intersect1d(one.edges, other.edges, assume_unique=True))
    both = one.inside & other.inside
    counts = [(common, len(one.edges), len(other.edges))]
    counts += [
        (int((both & some).sum()), int((one.inside & some).sum()), int((other.inside & some).sum()))
        for some in (np.ones_like(heads), heads)
    ]
    return np.array([_measures(*row) for row in counts])


def _measures(common: int, first: int, second: int) -> tuple[float, ...]:
    over = (first + second - common, first, second)
    return tuple(common / total if total else np.nan for total in over)


def overlap(
    one: Circuits, other: Circuits, numbers: tuple[int, int], prompts: Prompts, heads: Bools, seed: int
) -> dict[str, Any]:
    """Columns, each [what measure]: the overlap with its interval, halves, ceilings, random circuits and nodes."""
    value = shared(one.whole, other.whole, heads)
    left_out = [block for block in prompts.sample if block in one.without or block in other.without]
    without = [
        shared(one.without.get(block, one.whole), other.without.get(block, other.whole), heads) for block in left_out
    ]
    found = bounded(value, without, left_out, numbers, prompts, all(side.without for side in (one, other)))
    chance = [shared(a, b, heads) for a, b in zip(one.random, other.random, strict=False)]
    random, low, high = spread(chance, value)
    sets, sets_low, sets_high = spread(_random_nodes(one.whole, other.whole, heads, seed), value)
    return {
        "mean": np.clip(found.value, 0, 1), "low": np.clip(found.low, 0, 1), "high": np.clip(found.high, 0, 1),
        **halves_of(one.halves, other.halves, lambda a, b: shared(a, b, heads), value),
        "random": random, "random_low": low, "random_high": high, "sets": sets, "sets_low": sets_low,
        "sets_high": sets_high,
    }  # fmt: skip


def bounded(
    value: Floats, without: Sequence[Floats], blocks: Sequence[int], numbers: tuple[int, int], prompts: Prompts,
    able: bool,
) -> Estimate:  # fmt: skip
    """The value with its jackknife interval; none where a side has no scores by pair."""
    if not able or not len(without):
        return jackknife(value, np.zeros((0, *value.shape)), ())
    samples = [tuple(number for number in numbers if number in prompts.sample[block]) for block in blocks]
    return jackknife(value, np.stack(without), samples)


def halves_of(
    first: Sequence[tuple[Any, Any]], second: Sequence[tuple[Any, Any]], measure: Callable[[Any, Any], Floats],
    like: Floats,
) -> dict[str, Floats]:  # fmt: skip
    """halves, ceiling_first, ceiling_second: means over splits of what halves of other prompts share.

    `halves` compares a half of the first side with the other half of the second, so that prompts that both sides have
    are never in both; the ceilings compare the halves of one side. All are of half the prompts.
    """
    across = [(a, d) for (a, _), (_, d) in zip(first, second, strict=False)]
    across += [(b, c) for (_, b), (c, _) in zip(first, second, strict=False)]
    inside = [[pair for one, other in side for pair in ((one, other), (other, one))] for side in (first, second)]
    names = ("halves", "ceiling_first", "ceiling_second")
    return {name: spread([measure(a, b) for a, b in pairs], like)[0]
            for name, pairs in zip(names, (across, *inside), strict=True)}  # fmt: skip


def spread(values: Sequence[Floats], like: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and the middle 95% of values of one shape; NaN where there are none."""
    if not len(values):
        nothing = np.full_like(like, np.nan)
        return nothing, nothing, nothing
    stacked = np.stack(values)
    low, high = np.quantile(stacked, [0.025, 0.975], axis=0)
    return stacked.mean(axis=0), low, high


def _random_nodes(one: Chosen, other: Chosen, heads: Bools, seed: int) -> list[Floats]:
    """[draw] of random sets of as many heads and as many MLPs as either circuit has; edges have none."""
    rng = np.random.default_rng(seed)
    common: dict[str, Any] = {}
    counts: dict[str, tuple[int, int]] = {}
    for name, some in (("heads", heads), ("mlps", _mlps(heads))):
        first, second, total = int((one.inside & some).sum()), int((other.inside & some).sum()), int(some.sum())
        counts[name] = first, second
        common[name] = rng.hypergeometric(first, total - first, second, size=SETS)
    every = tuple(a + b for a, b in zip(counts["heads"], counts["mlps"], strict=True))
    nothing = (np.nan, np.nan, np.nan)
    return [
        np.array([nothing, _measures(int(h + m), *every), _measures(int(h), *counts["heads"])])
        for h, m in zip(common["heads"], common["mlps"], strict=True)
    ]


def _mlps(heads: Bools) -> Bools:
    """[node] all but heads, the embedding and the logits."""
    found = ~heads
    found[[0, -1]] = False
    return found


def comparisons(count: int) -> Iterator[tuple[int, int]]:
    """Every two of so many sides, in order."""
    return ((one, other) for one in range(count) for other in range(one + 1, count))
