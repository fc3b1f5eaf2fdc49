"""Metrics by hand on small logits."""

from __future__ import annotations

import math

import pytest
import torch

from hooks.metrics import divergence, log_prob, logit_diff

LOGITS = torch.tensor([[0.0, math.log(2.0), 0.0], [3.0, 1.0, -1.0]])


def test_logit_diff_is_answer_minus_distractor() -> None:
    assert logit_diff(0, 2)(LOGITS).tolist() == [0.0, 4.0]
    assert logit_diff(1, 0)(LOGITS)[1] == -2.0


def test_log_prob_is_normalised() -> None:
    assert log_prob(1)(LOGITS)[0].exp() == pytest.approx(0.5)
    assert log_prob(0)(LOGITS)[0].exp() == pytest.approx(0.25)


def test_divergence_by_hand_and_zero_of_itself() -> None:
    uniform = torch.zeros(3)
    by_hand = 1 / 3 * (math.log(4 / 3) + math.log(2 / 3) + math.log(4 / 3))
    assert divergence(uniform)(LOGITS)[0] == pytest.approx(by_hand, abs=1e-6)
    assert divergence(LOGITS[1])(LOGITS)[1] == 0.0


@pytest.mark.parametrize("metric", [logit_diff(0, 1), log_prob(0), divergence(torch.zeros(3))], ids=lambda m: m.name)
def test_metrics_compute_in_fp32_and_pass_nan_on(metric) -> None:
    assert metric(LOGITS.to(torch.bfloat16)).dtype == torch.float32
    assert metric(torch.full((1, 3), float("nan"))).isnan().all()
