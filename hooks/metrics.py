"""Metrics: one number per prompt from the logits of its last position. Signs as in the field: more is more correct."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Metric:
    """Base of all metrics. `name` labels the column; `unit` says in what it is measured."""

    name: str
    unit: str

    @property
    def columns(self) -> tuple[int, ...] | None:
        """The token ids whose logits it reads; None when it needs the whole vocabulary."""
        return None

    def __call__(self, logits: Tensor) -> Tensor:
        """[batch d_vocab] logits at the metric's position → [batch] values in fp32."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class LogitDiff(Metric):
    """logit(answer) − logit(distractor), in logits (nats of odds between the two)."""

    answer: int
    distractor: int

    @property
    def columns(self) -> tuple[int, ...]:
        return (self.answer, self.distractor)

    def __call__(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        return logits[:, self.answer] - logits[:, self.distractor]


@dataclass(frozen=True, eq=False)
class LogProb(Metric):
    """log p(target), in nats."""

    target: int

    def __call__(self, logits: Tensor) -> Tensor:
        return logits.float().log_softmax(dim=-1)[:, self.target]


@dataclass(frozen=True, eq=False)
class Divergence(Metric):
    """KL(reference ‖ run) over the vocabulary, in nats; 0 when the run equals the reference.

    `reference` is [d_vocab] log-probabilities.
    """

    reference: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        run = logits.float().log_softmax(dim=-1)
        return (self.reference.exp() * (self.reference - run)).sum(dim=-1).clamp_min(0.0)


def logit_diff(answer: int, distractor: int) -> LogitDiff:
    """The logit difference between two token ids."""
    return LogitDiff("logit_diff", "logits", answer, distractor)


def log_prob(target: int) -> LogProb:
    """The log-probability of a token id."""
    return LogProb("target_log_prob", "nats", target)


def divergence(reference_logits: Tensor) -> Divergence:
    """KL from the distribution of `reference_logits` [d_vocab]."""
    return Divergence("kl", "nats", reference_logits.float().log_softmax(dim=-1))
