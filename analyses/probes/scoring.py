"""How good probes are on groups that they were not fitted on: accuracy, control labels, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analyses._stats import Bools, Estimate, Floats, grouped_folds, grouped_mean, grouped_rate, rate_interval
from analyses.probes.fitting import Probe
from analyses.probes.reading import Labelled

BINS = 10
Folds = npt.NDArray[np.int64]
Fit = Callable[[Floats, Bools], Probe]
"""fit(x [row d], targets [row class]) of the rows to fit on."""


class Predictions(NamedTuple):
    """Held-out predictions.

    Attributes:
        chances: [row class] probabilities.
        predicted: [row] the class with the largest score.
        hits: [row] whether it counts for the row.
    """

    chances: Floats
    predicted: Folds
    hits: Bools

    @property
    def sure(self) -> Floats:
        """[row] the probability of the class predicted."""
        return np.asarray(self.chances[np.arange(len(self.predicted)), self.predicted], dtype=np.float64)


def folds_of(given: Labelled, folds: int, seed: int) -> Folds:
    """[row] its fold; no group is in two. Fewer where there are fewer groups."""
    return grouped_folds(given.groups, min(folds, len(set(given.groups))), seed=seed)


def predictions(x: Floats, targets: Bools, folds: Folds, fit: Fit) -> Predictions:
    """Every row by a probe fitted on the other folds."""
    chances, predicted = np.zeros(targets.shape), np.zeros(len(x), dtype=np.int64)
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        if test.any():
            probe = fit(x[~test], targets[~test])
            chances[test] = probe.probabilities(x[test])
            predicted[test] = probe.scores(x[test]).argmax(axis=1)
    return Predictions(chances, predicted, targets[np.arange(len(x)), predicted])


def majority(targets: Bools) -> Bools:
    """[row] whether the commonest class counts for the row.

    The commonest of all rows: that of the rows fitted on is the rarer one among those held out, where classes are even.
    """
    return targets[:, int(targets.sum(axis=0).argmax())]


def chance(targets: Bools) -> float:
    """Accuracy of a class drawn evenly."""
    return float(targets.mean())


class Control(NamedTuple):
    """Control labels (Hewitt and Liang 2019): `targets` [draw row class], `folds` [draw row], and of what types."""

    targets: Bools
    folds: Folds
    of: str
    recurring: float


def control_of(given: Labelled, asked: str | None, folds: int, draws: int, seed: int) -> Control:
    """Each type of row gets one row's classes at random, and rows are split at random, so that types recur.

    Types are the group or the last or first token; where none is named, the first of these with two types at least (of
    texts: the last token first). `recurring` is the share of rows whose type is among those fitted on.
    """
    kinds: dict[str, list[Any]] = {
        "group": given.groups,
        "last_token": [one.ids[-1] for one in given.items],
        "first_token": [one.ids[0] for one in given.items],
    }
    order = ["group", "last_token"] if given.target != "label" else ["last_token", "group"]
    name = asked or next((one for one in order if len(set(kinds[one])) > 1), "group")
    types = pd.factorize(pd.Series(kinds[name]))[0]
    rng = np.random.default_rng([seed, 1])
    targets, splits, recurring = [], [], []
    for _ in range(draws):
        targets.append(_drawn(given.targets, types, rng))
        split = rng.permutation(len(types)) % folds
        splits.append(split)
        known = [((types == kind) & (split != fold)).any() for kind, fold in zip(types, split, strict=True)]
        recurring.append(np.mean(known))
    return Control(np.stack(targets), np.stack(splits), name, float(np.mean(recurring)))


def _drawn(targets: Bools, types: Any, rng: np.random.Generator) -> Bools:
    """A set of classes for each type, drawn from the rows' own; drawn again while every type has the same."""
    count = int(types.max()) + 1
    found = targets[rng.integers(len(targets), size=count)]
    for _ in range(100):
        if count < 2 or (found != found[0]).any():
            break
        found = targets[rng.integers(len(targets), size=count)]
    return np.asarray(found[types], dtype=bool)


def control_hits(x: Floats, given: Labelled, control: Control, fit: Fit) -> tuple[Floats, Floats]:
    """[row] share of draws in which a probe is right of the row's own classes, and of its control labels.

    Both on the control's folds, so that the two differ in the labels alone.
    """
    pairs = list(zip(control.targets, control.folds, strict=True))
    own = [predictions(x, given.targets, folds, fit).hits for _, folds in pairs]
    drawn = [predictions(x, targets, folds, fit).hits for targets, folds in pairs]
    return np.mean(own, axis=0), np.mean(drawn, axis=0)


def selectivity(own: Floats, drawn: Floats, groups: Sequence[Any]) -> Estimate:
    """Accuracy minus control accuracy on the same folds, over groups."""
    return grouped_mean(own - drawn, groups)


def ece(found: Predictions) -> float:
    """Expected calibration error: |accuracy − mean probability| of BINS equal bins of the probability, by rows."""
    rows = reliability(found)
    return float((rows["rows"] * (rows["accuracy"] - rows["confidence"]).abs()).sum() / rows["rows"].sum())


def reliability(found: Predictions, groups: Sequence[Any] | None = None) -> pd.DataFrame:
    """A row a bin that is not empty: bin, confidence, accuracy with its interval, rows."""
    place = np.minimum((found.sure * BINS).astype(int), BINS - 1)
    rows = []
    for one in np.unique(place):
        mine = place == one
        hits = found.hits[mine]
        inside = None if groups is None else [group for group, here in zip(groups, mine, strict=True) if here]
        alone = inside is None or len(set(inside)) == len(inside)
        value, low, high = rate_interval(hits.sum(), len(hits)) if alone else grouped_rate(hits, inside or [])
        rows.append({"bin": int(one), "confidence": float(found.sure[mine].mean()), "accuracy": float(value),
                     "low": float(low), "high": float(high), "rows": int(mine.sum())})  # fmt: skip
    return pd.DataFrame(rows)


def log_loss(found: Predictions, targets: Bools) -> float:
    """Mean −log of the summed probability of a row's classes, nats."""
    return 0.0 - float(np.log(np.maximum((found.chances * targets).sum(axis=1), 1e-12)).mean())
