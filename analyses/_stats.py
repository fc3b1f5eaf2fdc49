"""Uncertainty over a set of prompts: bootstrap intervals of a mean, and which cells differ from zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def bootstrap_mean(
    values: Floats, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Mean over prompts with its percentile bootstrap interval (Efron 1979), prompts resampled with replacement.

    Args:
        values: [prompt …]; all trailing axes are resampled together, so cells of one prompt stay together.
        level: coverage of the interval.

    Returns:
        (mean, low, high), each of the trailing shape. With one prompt there is no interval: low and high are NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    weights = np.stack([np.bincount(row, minlength=len(values)) for row in picks]) / len(values)
    means = np.tensordot(weights, values, axes=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return mean, low, high


def excludes_zero(low: Floats, high: Floats) -> npt.NDArray[np.bool_]:
    """Where an interval lies on one side of zero; False where there is no interval."""
    return (low > 0) | (high < 0)
