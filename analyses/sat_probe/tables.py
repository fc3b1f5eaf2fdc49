"""The SAT probe's frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._common import HEAD, LAYER
from analyses._contract import Column, Frames
from analyses._stats import Estimate, rate_interval
from analyses.sat_probe.probing import (
    BOTH,
    MAJORITY,
    PROBE,
    SHUFFLED,
    Folds,
    Score,
    area,
    head_table,
    methods,
    out_of_half,
    probability,
    probe_score,
    risks,
    shuffled,
)
from analyses.sat_probe.reading import Examples

if TYPE_CHECKING:
    from analyses.sat_probe import SatSpec

CUTS = 10
"""Most numbers of layers at which the probe is cut off."""


def tables(given: Examples, folds: Folds, spec: SatSpec, tell: Callable[[float, str], None]) -> Frames:
    """All frames from the examples [question] and their halves [split question]."""
    scores, inside, risk, own = [], [], [], np.zeros(len(given.rows))
    for place, (name, score) in enumerate(methods(spec.c).items()):
        tell(place / 10, f"scoring by {name}")
        values = np.stack([out_of_half(given, half, score) for half in folds])
        found = mean_area(given, folds, values)
        if name == MAJORITY:
            # One score for all questions is 0.5 whatever the questions: there is nothing to be unsure of.
            found = found._replace(low=np.asarray(np.nan), high=np.asarray(np.nan))
        scores.append({"method": name, **_bounds(found), **_counts(given, folds)})
        if name == PROBE:
            own = probability(values).mean(axis=0)
        if name in (PROBE, "log-probability"):
            within = mean_area(given, folds, within_wordings(given, folds, values))
            inside.append({"method": f"{name}, within wordings", **_bounds(within), **_counts(given, folds)})
        if name in (PROBE, "log-probability", BOTH):
            risk += [{"method": name, "part": part, **_named("risk", found), "questions": tried}
                     for part, found, tried in risks(given, folds, values)]  # fmt: skip
    tell(0.7, SHUFFLED)
    chance = shuffled(given, folds, spec.c, spec.shuffles, spec.draw_seed)
    scores += inside
    scores.append({"method": SHUFFLED, **_bounds(chance), **_counts(given, folds)})
    wrong = int((~given.rows["right"]).sum())
    base = rate_interval(wrong, len(given.rows))
    risk.append({"method": MAJORITY, "part": "all", **_named("risk", base), "questions": float(len(given.rows))})
    tell(0.8, "early cut-off")
    rows = given.rows.assign(score=own)
    return {
        "scores": pd.DataFrame(scores), "risks": pd.DataFrame(risk), "cutoff": cutoff_table(given, folds, spec.c),
        "heads": head_table(given, folds, spec.c), "questions": rows[[one.name for one in COLUMNS["questions"]]],
    }  # fmt: skip


def mean_area(given: Examples, folds: Folds, values: np.ndarray) -> Estimate:
    """`area` averaged over splits, its ends too: splits hold the same answers, so that more do not narrow it."""
    parts = [area(given, half, one) for half, one in zip(folds, values, strict=True)]
    return Estimate(*(np.asarray(np.mean(part)) for part in zip(*parts, strict=True)))


def within_wordings(given: Examples, folds: Folds, values: np.ndarray) -> np.ndarray:
    """Scores [split question] minus their mean over the questions of one wording in one half.

    What is left knows nothing of the wording: without anything more its AUROC is 0.5.
    """
    found = np.empty_like(values)
    for split, half in enumerate(folds):
        by = pd.Series(values[split]).groupby([given.rows["wording"].to_numpy(), half])
        found[split] = values[split] - by.transform("mean").to_numpy()
    return found


def cutoff_table(given: Examples, folds: Folds, c: float) -> pd.DataFrame:
    """The probe that knows the first layers alone."""
    last = given.weights.shape[1]
    counts = sorted({int(one) for one in np.ceil(np.linspace(1, last, min(CUTS, last)))})
    rows = []
    for count in counts:
        score: Score = probe_score(c, count)
        values = np.stack([out_of_half(given, half, score) for half in folds])
        rows.append({"layers": count, **_bounds(mean_area(given, folds, values))})
    return pd.DataFrame(rows)


def _bounds(found: Estimate) -> dict[str, float]:
    return _named("auroc", found)


def _named(name: str, found: Estimate) -> dict[str, float]:
    return {name: float(found.value), "low": float(found.low), "high": float(found.high)}


def _counts(given: Examples, folds: Folds) -> dict[str, int]:
    right = int(given.rows["right"].sum())
    return {"right": right, "wrong": len(given.rows) - right, "groups": given.rows["group"].nunique(),
            "splits": len(folds)}  # fmt: skip


INTERVAL = (Column("low", "fraction", "lower end of its 95% interval"), Column("high", "fraction", "upper end"))
AUROC = Column("auroc", "fraction", "probability that a right answer scores above a wrong one; mean of halves, splits")
COLUMNS = {
    "scores": (
        Column("method", "", "what gives the score; within wordings: minus its mean over the wording in that half"),
        AUROC,
        Column(
            "low",
            "fraction",
            f"lower end of its 95% interval; {SHUFFLED}: of 95% of the permutations",
        ),
        Column("high", "fraction", "upper end"),
        Column("right", "count", "right answers"),
        Column("wrong", "count", "wrong ones"),
        Column("groups", "count", "groups of questions, none of which is in both halves"),
        Column("splits", "count", "random splits into halves behind it"),
    ),
    "risks": (
        Column("method", "", "what gives the score; majority: no score"),
        Column("part", "", "top: the 20% of highest score in either half; bottom: the lowest; all: every question"),
        Column("risk", "fraction", "share of wrong answers in it, mean over splits"),
        Column("low", "fraction", "lower end of Wilson's 95% interval, of as many questions as one split's are worth"),
        Column("high", "fraction", "upper end"),
        Column("questions", "count", "questions of it in one split"),
    ),
    "cutoff": (Column("layers", "count", "first layers whose heads the probe reads"), AUROC, *INTERVAL),
    "heads": (
        LAYER,
        HEAD,
        Column("weight", "log-odds", "in a probe of all questions, for one standard deviation of the attention"),
        Column("chosen", "fraction", "share of the halves whose probe gives it a weight"),
        Column("attention_right", "fraction", "mean of the largest weight on the constraint, right answers"),
        Column("attention_wrong", "fraction", "the same, wrong answers"),
        Column("auroc", "fraction", "of this head's attention alone"),
        Column("discovered", "", "that AUROC is told from 0.5 at a false discovery rate of 5%, over groups"),
    ),
    "questions": (
        Column("task", "", "number of the first task that asks it, from 0"),
        Column("group", "", "questions of one group are in one half: the task's group, else the constraint"),
        Column("wording", "", "the question without its constraint"),
        Column("prompt", "", "what the model read"),
        Column("constraint", "", "the part that the answer depends on"),
        Column("constraint_tokens", "count", "its tokens"),
        Column("constraint_rarity", "", "mean log(1 + token id) of them: merged late, so rare; a proxy"),
        Column("gold", "", "the first accepted answer"),
        Column("said", "", "what the model said"),
        Column("right", "", "whether an accepted answer is in it"),
        Column("log_prob", "nats", "of the first token that the model says"),
        Column("score", "probability", "P(right) by probes fitted on the other half, mean over splits"),
    ),
}
