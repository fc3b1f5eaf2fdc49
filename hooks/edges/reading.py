"""What an edge's worth is measured by: one number a prompt, greater is better (a goodness)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hooks.errors import unknown
from hooks.metrics import Divergence, Metric, log_prob, logit_diff

MetricName = Literal["logit_diff", "log_prob", "divergence"]
METRICS: tuple[MetricName, ...] = ("logit_diff", "log_prob", "divergence")
UNITS: dict[str, str] = {"logit_diff": "logits", "log_prob": "nats", "divergence": "nats"}
Rows = Callable[[Tensor], Tensor]
"""[row d_vocab] logits of the last position → [row]."""


@dataclass(frozen=True, eq=False)
class Closeness(Divergence):
    """−KL(reference ‖ run), in nats: 0 where the run equals the reference, and less the farther it is."""

    def __call__(self, logits: Tensor) -> Tensor:
        return -super().__call__(logits)


def goodness(name: str, answer: int, distractor: int, clean_logits: Tensor) -> Metric:
    """The metric of one pair by name: greater is better.

    Args:
        name: logit_diff (logit of the answer minus that of the distractor), log_prob (of the answer) or divergence
            (minus the KL divergence from the clean run's distribution).
        answer, distractor: token ids.
        clean_logits: [d_vocab] of the clean run's last position.
    """
    if name == "logit_diff":
        return logit_diff(answer, distractor)
    if name == "log_prob":
        return log_prob(answer)
    if name == "divergence":
        return Closeness("divergence", "nats", clean_logits.float().log_softmax(dim=-1))
    raise unknown("metric", name, METRICS)


def by_row(metrics: Sequence[Metric]) -> Rows:
    """Reads row i of the logits with metric i."""

    def read(logits: Tensor) -> Tensor:
        return torch.cat([metric(logits[row : row + 1]) for row, metric in enumerate(metrics)])

    return read
