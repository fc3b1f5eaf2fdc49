"""Linear probes: one score a class, linear in the activation; five ways to find the weights.

Targets are sets: `targets` [row class] is True where the class is among those that count for the row, most often one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from analyses._stats import Bools, Floats

Method = Literal["logistic", "linear", "mass_mean", "nearest_centroid"]
METHODS: tuple[Method, ...] = ("logistic", "linear", "mass_mean", "nearest_centroid")
K_SPARSE, K_CHANNELS, KEPT = "k_sparse", "k_channels", "kept"
Link = Literal["softmax", "sigmoid", "share"]
NEVER = -1e9
"""The score of a class without a row to fit on."""
PLATT = 1.0
"""Inverse strength of the penalty where a score becomes a probability: mild, so that apart is not infinitely sure."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Scores x·weightsᵀ + bias, [row class]; the largest is the prediction.

    Attributes:
        weights: [class d].
        bias: [class].
        link: how scores become probabilities. softmax; sigmoid of each, made to add up to 1; share: least squares'
            own numbers cut to 0…1, made to add up to 1.
    """

    weights: Floats
    bias: Floats
    link: Link

    def scores(self, x: Floats) -> Floats:
        """[row class] of x [row d]."""
        return np.asarray(x @ self.weights.T + self.bias, dtype=np.float64)

    def probabilities(self, x: Floats) -> Floats:
        """[row class]; each row adds up to 1."""
        scores = self.scores(x)
        if self.link == "softmax":
            return np.asarray(softmax(scores, axis=1), dtype=np.float64)
        some = expit(scores) if self.link == "sigmoid" else scores.clip(0.0, 1.0)
        some = np.maximum(some, 1e-12)
        return np.asarray(some / some.sum(axis=1, keepdims=True), dtype=np.float64)

    def directions(self) -> Floats:
        """[class d] what speaks for each class rather than the others: its weights minus the others' mean."""
        count = len(self.weights)
        return np.asarray((self.weights - self.weights.mean(axis=0)) * count / (count - 1), dtype=np.float64)

    def subspace(self) -> Floats:
        """[rank d] orthonormal rows of all directions on which a prediction depends; the rank is classes − 1."""
        _, sizes, rows = np.linalg.svd(self.weights - self.weights.mean(axis=0), full_matrices=False)
        return np.asarray(rows[sizes > 1e-9 * max(float(sizes.max()), 1e-300)], dtype=np.float64)


def fitted(x: Floats, targets: Bools, method: Method, c: float) -> Probe:
    """Fit a probe of x [row d].

    logistic: softmax regression with an L2 penalty; the loss of a row is −log of the summed probability of its classes.
    linear: ridge regression on the targets as 0 and 1. mass_mean: along mean(class) − mean(others) (Marks and Tegmark
    2024), scale and threshold by logistic regression on the projection. nearest_centroid: Euclidean distance to the
    class means; probabilities as of normal clouds equally wide in all channels. x is centred and divided by one number
    (its root mean square) first, so `c`, the inverse strength of the penalty, means the same at every layer.
    """
    middle = x.mean(axis=0)
    scale = float(np.sqrt(np.square(x - middle).mean())) or 1.0
    scaled = (x - middle) / scale
    some = targets.any(axis=0)
    weights, bias, link = _ON_SCALED[method](scaled, targets[:, some], c)
    every, offset = np.zeros((targets.shape[1], x.shape[1])), np.full(targets.shape[1], NEVER)
    every[some], offset[some] = weights / scale, bias - weights @ middle / scale
    return Probe(every, offset, link)


Weighted = tuple[Floats, Floats, Link]


def _logistic(x: Floats, targets: Bools, c: float) -> Weighted:
    weights, bias = any_of(x, targets, c)
    return weights, bias, "softmax"


def any_of(x: Floats, targets: Bools, c: float) -> tuple[Floats, Floats]:
    """Minimise ½‖W‖² − c·Σ log Σ_{class counts} softmax(xWᵀ + b); W [class d], b [class] without a penalty.

    With one class a row it is multinomial logistic regression. W lies in the span of the rows, where it is sought.
    """
    basis = None
    if len(x) < x.shape[1]:
        left, sizes, basis = np.linalg.svd(x, full_matrices=False)
        x = left * sizes
    classes, d = targets.shape[1], x.shape[1]
    outside = np.where(targets, 0.0, -np.inf)

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[: classes * d].reshape(classes, d), flat[classes * d :]
        logs = log_softmax(x @ weights.T + bias, axis=1)
        inside = np.logaddexp.reduce(logs + outside, axis=1)
        pull = np.exp(logs) - np.exp(logs + outside - inside[:, None])
        value = 0.5 * float((weights**2).sum()) - c * float(inside.sum())
        return value, np.concatenate([(weights + c * pull.T @ x).ravel(), c * pull.sum(axis=0)])

    found: Any = minimize(loss, np.zeros(classes * (d + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights, bias = found.x[: classes * d].reshape(classes, d), found.x[classes * d :]
    return weights if basis is None else weights @ basis, bias


def _linear(x: Floats, targets: Bools, c: float) -> Weighted:
    middle = targets.mean(axis=0)
    left, sizes, rows = np.linalg.svd(x, full_matrices=False)
    weights = ((left * (sizes / (sizes**2 + 1 / c))).T @ (targets - middle)).T @ rows
    return weights, middle, "share"


def _mass_mean(x: Floats, targets: Bools, _c: float) -> Weighted:
    weights, bias = np.zeros((targets.shape[1], x.shape[1])), np.zeros(targets.shape[1])
    for place, mine in enumerate(targets.T):
        # A class that every row of a part has cannot be told from anything there.
        if not mine.all():
            direction = x[mine].mean(axis=0) - x[~mine].mean(axis=0)
            slope, offset = platt(x @ direction, mine)
            weights[place], bias[place] = slope * direction, offset
    return weights, bias, "sigmoid"


def platt(projection: Floats, mine: Bools) -> tuple[float, float]:
    """Slope and offset of the log-odds of `mine` [row] in `projection` [row]."""
    middle, spread = float(projection.mean()), float(projection.std()) or 1.0
    both = np.stack([~mine, mine], axis=1)
    weights, bias = any_of(((projection - middle) / spread)[:, None], both, PLATT)
    slope = float(weights[1, 0] - weights[0, 0]) / spread
    return slope, float(bias[1] - bias[0]) - slope * middle


def _nearest(x: Floats, targets: Bools, _c: float) -> Weighted:
    means = np.stack([x[mine].mean(axis=0) for mine in targets.T])
    inside = np.concatenate([x[mine] - mean for mine, mean in zip(targets.T, means, strict=True)])
    width = float(np.square(inside).mean()) or 1.0
    return means / width, -0.5 * np.square(means).sum(axis=1) / width, "softmax"


_ON_SCALED = {"logistic": _logistic, "linear": _linear, "mass_mean": _mass_mean, "nearest_centroid": _nearest}


def k_sparse(x: Floats, targets: Bools, k: int, c: float) -> Probe:
    """For each class a logistic regression on the k columns of x [row d] that differ most, others' weights 0.

    Columns are chosen by the largest |mean(class) − mean(others)| of the rows fitted on (Gurnee et al. 2023), and
    divided by their standard deviation.
    """
    weights, bias = np.zeros((targets.shape[1], x.shape[1])), np.full(targets.shape[1], NEVER)
    for place, mine in enumerate(targets.T):
        if mine.any() and not mine.all():
            chosen = most_different(x, mine, k)
            middle, spread = x[:, chosen].mean(axis=0), x[:, chosen].std(axis=0)
            spread = np.where(spread > 0, spread, 1.0)
            found, offsets = any_of((x[:, chosen] - middle) / spread, np.stack([~mine, mine], axis=1), c)
            weights[place, chosen] = (found[1] - found[0]) / spread
            bias[place] = offsets[1] - offsets[0] - weights[place, chosen] @ middle
    return Probe(weights, bias, "sigmoid")


def most_different(x: Floats, mine: Bools, k: int) -> Any:
    """The k columns of x with the largest difference of means, largest first."""
    difference = np.abs(x[mine].mean(axis=0) - x[~mine].mean(axis=0))
    return np.argsort(-difference, kind="stable")[:k]
