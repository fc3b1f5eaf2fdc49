"""The same over blocks of the vocabulary: online log-sum-exp, running top-k; never more than [row block] logits.

With m the largest logit so far, a block updates sums relative to m, which move when m does:

    S = Σ exp(l − m)             S ← S·e^(m−m′) + Σ_block exp(l − m′)
    A = Σ exp(l − m)(l − m)      A ← (A + (m−m′)S)·e^(m−m′) + …          lse = m + log S,  H = log S − A/S
    C = Σ exp(r − n)(l − m)      for references r with maximum n: Σ r̂·(l − m) = C/S_r, so
    KL = (A_r − C)/S_r − log S_r + log S

The Jensen-Shannon divergence needs lse of both first: a second pass over the blocks, so twice the matrix product.
Sums are in fp32 within a block and carried in fp64 between blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.vocab_lens.naive import Question, VocabLens, mixture_terms

BLOCK = 4096
"""Vocabulary ids a block: 576 × 4096 fp32 weights are 9 MB, which a processor's cache still helps with."""


@dataclass
class _Moments:
    """Running m, S and A of one set of rows, all [row] in fp64."""

    m: Tensor
    S: Tensor
    A: Tensor

    @classmethod
    def empty(cls, rows: int, device: torch.device) -> _Moments:
        zero = torch.zeros(rows, dtype=torch.float64, device=device)
        return cls(torch.full_like(zero, float("-inf")), zero, zero.clone())

    def absorb(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take in a block; return what others need: exp(l − m′), l − m′ (both [row block]) and the move m − m′."""
        peak = torch.maximum(self.m, logits.amax(dim=-1).double())
        move = torch.where(self.m == float("-inf"), 0.0, self.m - peak)
        shifted = logits - peak.float()[:, None]
        weights = shifted.exp()
        self.A = (self.A + move * self.S) * move.exp() + (weights * shifted).sum(dim=-1).double()
        self.S = self.S * move.exp() + weights.sum(dim=-1).double()
        self.m = peak
        return weights, shifted, move


@dataclass
class _Against:
    """The reference rows: their own sums, and C of every row with its reference."""

    states: Tensor
    index: Tensor
    moments: _Moments
    C: Tensor

    @classmethod
    def of(cls, asked: Question) -> _Against | None:
        if asked.reference is None or asked.reference_index is None:
            return None
        device = asked.hidden.device
        moments = _Moments.empty(asked.reference.shape[0], device)
        zero = torch.zeros(asked.hidden.shape[0], dtype=torch.float64, device=device)
        return cls(asked.reference, asked.reference_index, moments, zero)

    def absorb(self, logits: Tensor, shifted: Tensor, move: Tensor) -> None:
        """Take in a block of reference logits, beside the rows' own l − m′ and m − m′."""
        before = self.moments.S[self.index]
        weights, _, their_move = self.moments.absorb(logits)
        fresh = (weights[self.index] * shifted).sum(dim=-1).double()
        self.C = (self.C + move * before) * their_move[self.index].exp() + fresh

    def divergence(self, own: _Moments) -> Tensor:
        """[row] KL(reference ‖ row)."""
        S, A = self.moments.S[self.index], self.moments.A[self.index]
        return (A - self.C) / S - S.log() + own.S.log()


@torch.no_grad()
def vocab_lens(
    hidden: Tensor,
    W_U: Tensor,
    b_U: Tensor | None = None,
    *,
    k: int = 1,
    targets: Tensor | None = None,
    reference: Tensor | None = None,
    reference_index: Tensor | None = None,
    js: bool = False,
    block: int = BLOCK,
) -> VocabLens:
    """Arguments, results and errors of `naive.vocab_lens`; `block` is how many ids are looked at together."""
    asked = Question.of(hidden, W_U, b_U, k, targets, reference, reference_index, js)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    rows, device = hidden.shape[0], hidden.device
    own, top = _Moments.empty(rows, device), _empty_top(rows, device)
    against = _Against.of(asked)
    target_logits = _target_logits(asked, block)
    ranks = torch.zeros_like(asked.targets)
    for first in range(0, W_U.shape[1], block):
        logits = asked.logits(hidden, first, first + block)
        _, shifted, move = own.absorb(logits)
        top = _merge(top, first_largest(logits, min(k, logits.shape[1])), first, k)
        ranks += _ahead(logits, target_logits, asked.targets, first)
        if against is not None:
            against.absorb(asked.logits(against.states, first, first + block), shifted, move)
    log_sum_exp = own.m + own.S.log()
    return VocabLens(
        top_ids=top[1],
        top_log_probs=(top[0] - log_sum_exp[:, None]).float(),
        log_sum_exp=log_sum_exp.float(),
        entropy=(own.S.log() - own.A / own.S).float(),
        target_ranks=ranks,
        target_log_probs=(target_logits - log_sum_exp[:, None]).float(),
        kl=None if against is None else against.divergence(own).float(),
        js=_mixed(asked, own, against, block) if js and against is not None else None,
        backend="streamed",
    )


def _mixed(asked: Question, own: _Moments, against: _Against, block: int) -> Tensor:
    """[row] Jensen-Shannon divergence, in a second pass over the blocks with the log-sum-exps known."""
    mine, theirs = ((one.m + one.S.log()).float()[:, None] for one in (own, against.moments))
    twice = torch.zeros_like(own.S)
    for first in range(0, asked.W_U.shape[1], block):
        log_p = asked.logits(asked.hidden, first, first + block) - mine
        log_r = asked.logits(against.states, first, first + block) - theirs
        twice += mixture_terms(log_p, log_r[against.index]).sum(dim=-1).double()
    return (twice / 2).float()


def first_largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """([row k] values, [row k] places) in descending order, equal values by place; `torch.topk` leaves both open."""
    if k == logits.shape[1]:
        return tuple(logits.sort(dim=-1, descending=True, stable=True))  # type: ignore[return-value]
    values, places = logits.topk(k + 1, dim=-1)
    # Only where the k-th and the next are equal is it open which places were taken.
    unclear = values[:, k - 1] == values[:, k]
    places = places[:, :k].sort(dim=-1).values
    values, order = logits.gather(1, places).sort(dim=-1, descending=True, stable=True)
    places = places.gather(1, order)
    if unclear.any():
        again = logits[unclear].sort(dim=-1, descending=True, stable=True)
        values[unclear], places[unclear] = again.values[:, :k], again.indices[:, :k]
    return values, places


def _empty_top(rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.empty(rows, 0, device=device), torch.empty(rows, 0, dtype=torch.long, device=device)


def _merge(top: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor], first: int, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of both; earlier blocks hold lower ids, so a stable sort keeps equal logits in order of id."""
    values = torch.cat([top[0], found[0]], dim=-1)
    ids = torch.cat([top[1], found[1] + first], dim=-1)
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values[:, :k], ids.gather(1, order[:, :k])


def _target_logits(asked: Question, block: int) -> Tensor:
    """[row target], from the very blocks that are compared with them, so that a target never outranks itself."""
    found = torch.zeros(asked.targets.shape, device=asked.hidden.device)
    for first in sorted({int(t) // block * block for t in asked.targets.unique()}):
        logits = asked.logits(asked.hidden, first, first + block)
        here = (asked.targets >= first) & (asked.targets < first + block)
        found = torch.where(here, logits.gather(1, torch.where(here, asked.targets - first, 0)), found)
    return found


def _ahead(logits: Tensor, target_logits: Tensor, targets: Tensor, first: int) -> Tensor:
    """[row target]: how many ids of this block come before each target."""
    places = torch.arange(first, first + logits.shape[1], device=logits.device)
    counts = []
    for logit, target in zip(target_logits.unbind(1), targets.unbind(1), strict=True):
        equal_and_lower = (logits == logit[:, None]) & (places < target[:, None])
        counts.append(((logits > logit[:, None]) | equal_and_lower).sum(dim=-1))
    return torch.stack(counts, dim=1) if counts else torch.zeros_like(targets)
