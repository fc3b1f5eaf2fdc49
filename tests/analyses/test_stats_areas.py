"""Areas under curves of items in groups: which scores tell, and when nobody may say so."""

from __future__ import annotations

import numpy as np

from analyses._stats import told_by


def test_a_score_that_tells_is_marked_and_few_groups_never() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2 == 0
    scores = rng.normal(size=(80, 5))
    scores[:, 3] += 3.0 * labels
    areas, found = told_by(scores, labels, list(range(80)))
    assert found.tolist() == [False, False, False, True, False]
    assert areas[3] > 0.95
    for groups, marked in ((5, False), (20, True)):
        _, found = told_by(scores, labels, list(np.arange(80) // 2 % groups))
        assert bool(found[3]) == marked


def test_labels_that_go_by_groups_are_seldom_told_from_chance() -> None:
    """Twelve groups, each all right or all wrong, no signal: about 5% of 60 draws have any mark."""
    rng, marks = np.random.default_rng(1), 0
    groups = np.repeat(np.arange(12), 8)
    for _ in range(60):
        labels = rng.permutation(np.arange(12) % 2 == 0)[groups]
        shared = rng.normal(size=(12, 30))[groups]
        _, found = told_by(shared + 0.3 * rng.normal(size=(96, 30)), labels, list(groups))
        marks += bool(found.any())
    assert marks <= 9
