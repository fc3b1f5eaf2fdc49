"""Areas under curves where items go in groups: over the halves of a split, and of many scores at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr

from analyses._stats.checks import Bools, Estimate, Floats
from analyses._stats.discovery import FEWEST, benjamini_hochberg
from analyses._stats.means import design_effect
from analyses._stats.ranking import auroc, ranks


def auroc_of_halves(parts: Sequence[tuple[Floats, Bools, Sequence[Any]]]) -> Estimate:
    """Mean AUROC of halves, each (scores [item], labels [item], groups [item]), and its interval.

    Each half's interval is Newcombe's, widened by the root of the design effect of the groups; the halves' distances
    are added in squares (Zou and Donner 2008), as their test items are different ones.
    """
    values, below, above = [], [], []
    for scores, labels, groups in parts:
        value, low, high = (float(one) for one in auroc(scores, labels))
        wider = float(np.sqrt(design_effect(influence(scores, labels), groups)))
        values.append(value)
        below.append((value - low) * wider)
        above.append((high - value) * wider)
    mean, count = float(np.mean(values)), len(values)
    low, high = mean - float(np.linalg.norm(below)) / count, mean + float(np.linalg.norm(above)) / count
    return Estimate(*(np.asarray(one, dtype=np.float64) for one in (mean, max(low, 0.0), min(high, 1.0))))


def influence(scores: Floats, labels: Bools) -> Floats:
    """[item …] what each item moves the AUROC of `scores` [item …] by: DeLong's placements, their sum 0."""
    columns = scores.reshape(len(scores), -1)
    found = np.empty_like(columns)
    for column in range(columns.shape[1]):
        every = ranks(columns[:, column])
        for side in (True, False):
            own, others = labels == side, int((labels != side).sum())
            beaten = (every[own] - ranks(columns[own, column])) / others
            place = beaten if side else 1 - beaten
            found[own, column] = (place - place.mean()) / own.sum()
    return found.reshape(scores.shape)


def told_by(scores: Floats, labels: Bools, groups: Sequence[Any]) -> tuple[Floats, Bools]:
    """([score] AUROC of each column of `scores` [item score], [score] whether it is told from 0.5).

    Marks are at a false discovery rate of 5% over the columns, over groups (the variance of equal scores, Hanley and
    McNeil 1982, times the design effect, which is estimated: Student's t with groups − 1 degrees); none below FEWEST.
    """
    areas = np.array([float(auroc(column, labels).value) for column in scores.T])
    right, wrong = int(labels.sum()), int((~labels).sum())
    error = np.sqrt((right + wrong + 1) / (12 * right * wrong) * design_effect(influence(scores, labels), groups))
    count = len(set(groups))
    if count < FEWEST:
        return areas, np.zeros(len(areas), dtype=bool)
    return areas, benjamini_hochberg(2 * stdtr(count - 1, -np.abs(areas - 0.5) / error)) <= 0.05
