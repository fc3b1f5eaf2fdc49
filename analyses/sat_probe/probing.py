"""Sparse logistic probes in two halves without a shared group, and what is compared with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from analyses._stats import Bools, Estimate, Floats, auroc_of_halves, design_effect, rate_interval, told_by
from analyses.sat_probe.reading import Examples
from hooks.errors import InputError

PROBE, BOTH, SHUFFLED = "attention probe", "probe + log-probability", "shuffled labels"
MAJORITY = "majority"
LEAST = 5
"""Right and wrong answers below which nothing is fitted."""
SHARE = 0.2
"""Questions with the highest and the lowest scores whose risk is told."""
Folds = npt.NDArray[np.int64]
Score = Callable[[Examples, Bools, Bools], Floats]
"""score(examples, train, test) -> [test question], larger for right."""


class Fit(NamedTuple):
    """A probe: weights [feature] for features in standard deviations, mean and spread [feature], and the bias."""

    weights: Floats
    bias: float
    middle: Floats
    spread: Floats

    def score(self, features: Floats) -> Floats:
        """Log-odds of right."""
        return np.asarray(((features - self.middle) / self.spread) @ self.weights + self.bias, dtype=np.float64)


def fitted(features: Floats, labels: Any, c: float) -> Fit:
    """L1 logistic regression (liblinear) on standardised `features` [item feature]."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    probe = LogisticRegression(solver="liblinear", l1_ratio=1.0, C=c, random_state=0, max_iter=1000)
    probe.fit((features - middle) / spread, np.asarray(labels, dtype=bool))
    return Fit(np.asarray(probe.coef_[0], dtype=np.float64), float(probe.intercept_[0]), middle, spread)


def folds_of(given: Examples, splits: int, seed: int) -> Folds:
    """[split question]: its half, 0 or 1. No group is in both; both classes are in either, in like shares.

    Raises:
        InputError: fewer than LEAST right or wrong answers, or groups that cannot be halved (with the counts).
    """
    labels, groups = given.rows["right"].to_numpy(dtype=bool), given.rows["group"].to_numpy()
    right, wrong = int(labels.sum()), int((~labels).sum())
    counts = f"{right} right and {wrong} wrong answers to {len(labels)} questions of {len(set(groups))} groups"
    if right == 0 or wrong == 0:
        raise InputError(f"labels are all one class: {counts}; a probe needs both. Give easier or harder tasks")
    if right < LEAST or wrong < LEAST:
        raise InputError(f"too few tasks: {counts}; a probe needs {LEAST} of each at least, some hundred to say much")
    found = []
    for split in range(splits):
        half = np.zeros(len(labels), dtype=np.int64)
        if len(set(groups)) > 1:
            cut = StratifiedGroupKFold(2, shuffle=True, random_state=seed + split)
            half[next(cut.split(labels, labels, groups))[1]] = 1
        if all(0 < labels[half == side].sum() < (half == side).sum() for side in (0, 1)):
            found.append(half)
    if not found:
        raise InputError(f"no two halves without a shared group have both classes: {counts}; give tasks of more groups")
    return np.stack(found)


def probe_score(c: float, layers: int | None = None, *, log_prob: bool = False) -> Score:
    """The probe on the first `layers` layers (all), with the log-probability as one more feature where asked."""

    def score(given: Examples, train: Bools, test: Bools) -> Floats:
        features = given.weights[:, :layers].reshape(len(given.rows), -1)
        if log_prob:
            features = np.column_stack([features, given.rows["log_prob"]])
        return fitted(features[train], given.rows["right"][train], c).score(features[test])

    return score


def column_score(column: str, sign: float) -> Score:
    """A column that needs no fit."""
    return lambda given, _train, test: sign * given.rows[column].to_numpy(dtype=np.float64)[test]


def wording_score(given: Examples, train: Bools, test: Bools) -> Floats:
    """The share of right answers to the same wording in the other half; their mean for a wording that is not there."""
    rates = given.rows[train].groupby("wording")["right"].mean()
    return given.rows[test]["wording"].map(rates).fillna(rates.mean()).to_numpy(dtype=np.float64)


def methods(c: float) -> dict[str, Score]:
    """Every way of scoring, by name."""
    return {
        PROBE: probe_score(c),
        "log-probability": column_score("log_prob", 1.0),
        BOTH: probe_score(c, log_prob=True),
        "few constraint tokens": column_score("constraint_tokens", -1.0),
        "frequent constraint tokens": column_score("constraint_rarity", -1.0),
        "wording alone": wording_score,
        MAJORITY: lambda _given, _train, test: np.zeros(int(test.sum())),
    }


def out_of_half(given: Examples, half: npt.NDArray[np.int64], score: Score) -> Floats:
    """[question] scores from the half that the question is not in."""
    found = np.full(len(half), np.nan)
    for side in (0, 1):
        found[half == side] = score(given, half != side, half == side)
    return found


def area(given: Examples, half: npt.NDArray[np.int64], scores: Floats) -> Estimate:
    """Mean AUROC of the two halves and its interval over groups."""
    labels, groups = given.rows["right"].to_numpy(dtype=bool), given.rows["group"].to_numpy()
    return auroc_of_halves(
        [(scores[half == side], labels[half == side], list(groups[half == side])) for side in (0, 1)]
    )


def risks(given: Examples, folds: Folds, scores: Floats) -> list[tuple[str, Estimate, float]]:
    """Share of wrong answers among the best and the worst SHARE of either half, mean over `scores` [split question].

    Wilson's interval with one split's number of questions, which is the third, or as many as they are worth where
    questions of a group are alike (`design_effect`).
    """
    wrong, groups = ~given.rows["right"].to_numpy(dtype=bool), given.rows["group"].to_numpy()
    sums, effects = np.zeros((2, 2)), np.zeros(2)
    for half, values in zip(folds, scores, strict=True):
        for side in (0, 1):
            order = np.flatnonzero(half == side)
            # Equal scores stand in random order: a constant score has the risk of all.
            order = np.random.default_rng(side).permutation(order)
            order = order[np.argsort(-values[order], kind="stable")]
            count = max(1, round(SHARE * len(order)))
            for place, chosen in enumerate((order[:count], order[-count:])):
                sums[place] += (wrong[chosen].sum(), count)
                effects[place] += float(design_effect(wrong[chosen].astype(float), list(groups[chosen])))
    hits, tried = sums.T / len(folds)
    effects /= 2 * len(folds)
    return [(name, rate_interval(hits[place] / effects[place], tried[place] / effects[place]), float(tried[place]))
            for place, name in enumerate(("top", "bottom"))]  # fmt: skip


def shuffled(given: Examples, folds: Folds, c: float, draws: int, seed: int) -> Estimate:
    """Mean AUROC of the probe with permuted labels, and the middle 95% of the permutations; splits take turns.

    Labels move with their groups (`dealt`): alike within a group they say less than as many labels of their own.
    """
    rng, values, groups = np.random.default_rng(seed), [], given.rows["group"].to_numpy()
    for draw in range(draws):
        half = folds[draw % len(folds)]
        permuted = Examples(given.rows.assign(right=dealt(given.rows["right"].to_numpy(), groups, rng)), given.weights)
        labels = permuted.rows["right"].to_numpy(dtype=bool)
        if all(0 < labels[half == side].sum() < (half == side).sum() for side in (0, 1)):
            values.append(float(area(permuted, half, out_of_half(permuted, half, probe_score(c))).value))
    low, high = np.quantile(values, [0.025, 0.975]) if values else (np.nan, np.nan)
    return Estimate(np.asarray(np.mean(values) if values else np.nan), np.asarray(low), np.asarray(high))


def dealt(labels: Any, groups: Any, rng: np.random.Generator) -> Any:
    """Labels [question] laid end to end, group by group in random order, and dealt to the groups in another order.

    Neighbours stay together, so that labels that are alike within groups stay so; single questions are permuted.
    """
    names = list(dict.fromkeys(groups))
    members = {name: np.flatnonzero(groups == name) for name in names}
    first, second = (np.concatenate([members[names[place]] for place in rng.permutation(len(names))]) for _ in range(2))
    found = np.empty_like(labels)
    found[second] = labels[first]
    return found


def head_table(given: Examples, folds: Folds, c: float) -> pd.DataFrame:
    """Each head's weight in a probe of everything, how often halves choose it, and what it tells by itself."""
    labels, groups = given.rows["right"].to_numpy(dtype=bool), list(given.rows["group"])
    flat = given.weights.reshape(len(labels), -1)
    chosen = np.mean([fitted(flat[half == side], labels[half == side], c).weights != 0
                      for half in folds for side in (0, 1)], axis=0)  # fmt: skip
    areas, discovered = told_by(flat, labels, groups)
    layers, heads = np.unravel_index(np.arange(flat.shape[1]), given.weights.shape[1:])
    return pd.DataFrame({
        "layer": layers, "head": heads, "weight": fitted(flat, labels, c).weights, "chosen": chosen,
        "attention_right": flat[labels].mean(axis=0), "attention_wrong": flat[~labels].mean(axis=0),
        "auroc": areas, "discovered": discovered,
    })  # fmt: skip


def probability(scores: Floats) -> Floats:
    """P(right) from log-odds."""
    return np.asarray(expit(scores), dtype=np.float64)
