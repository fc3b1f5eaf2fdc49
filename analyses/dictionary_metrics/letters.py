"""First-letter absorption: words whose first letter no main latent tells, because a latent of the word does its work.

Chanin et al. 2024, "A is for Absorption", as SAEBench measures it (Karvonen et al. 2025); METHODS § 12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from analyses.dictionary_metrics.words import LETTERS, Words

if TYPE_CHECKING:
    from hooks.dictionaries import Dictionary

FEWEST_TAUGHT, FEWEST_TESTED = 10, 4
"""Words that a letter needs among those a probe is fitted on and among those it is tested on."""
MOST_MAINS, RISE = 10, 0.03
FULL_COSINE, COSINE, SHARE, ABSORBERS = 0.025, 0.1, 0.4, 3
PENALTY, ROUNDS = 1e-3, 80


@dataclass(frozen=True, eq=False)
class LetterFound:
    """One letter: how well a probe tells it, and what becomes of the test words that the probe gets right.

    `full` is [word] bool and `fraction` [word]; both empty where the letter has no probe.
    """

    letter: str
    taught: int
    tested: int
    f1: float
    mains: tuple[int, ...]
    mains_f1: float
    full: np.ndarray
    fraction: np.ndarray


def first_letters(
    dictionary: Dictionary, words: Words, least_f1: float, progress: Callable[[float, str], None]
) -> list[LetterFound]:
    """Every letter with enough words; absorption only of those that a probe tells with an F1 above `least_f1`."""
    probes = _probes(words)
    codes = dictionary.encode(words.read).to_dense()
    centred = words.written - dictionary.b_dec
    units = dictionary.directions / dictionary.directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    found = []
    for place, letter in enumerate(LETTERS):
        progress(place / len(LETTERS), f"letter {letter}")
        is_it = words.letter == place
        taught, tested = int((is_it & words.taught).sum()), int((is_it & ~words.taught).sum())
        none = LetterFound(letter, taught, tested, float("nan"), (), float("nan"), np.zeros(0, bool), np.zeros(0))
        if place not in probes:
            found.append(none)
            continue
        direction, said = probes[place]
        f1 = f1_of(said[~words.taught], is_it[~words.taught])
        if not f1 > least_f1:
            found.append(LetterFound(letter, taught, tested, f1, (), float("nan"), none.full, none.fraction))
            continue
        mains, mains_f1 = main_latents(codes[words.taught], is_it[words.taught])
        hit = is_it & ~words.taught & said
        unit = direction / direction.norm()
        full, fraction = absorption(
            centred[hit] @ unit, codes[hit], dictionary.directions @ unit, units @ unit, list(mains)
        )
        found.append(LetterFound(letter, taught, tested, f1, mains, mains_f1, full, fraction))
    return found


def absorption(
    projection: Tensor, codes: Tensor, along: Tensor, cosine: Tensor, mains: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """(full [word] bool, fraction [word]) for words of which a probe knows the letter.

    Args:
        projection: [word] of the activation less b_dec on the probe's unit direction.
        codes: [word latent] activations of latents.
        along: [latent] projection of what one unit of each latent writes.
        cosine: [latent] of its direction and the probe's.
        mains: latents that stand for the letter.
    """
    parts = codes * along
    of_mains = parts[:, mains].sum(dim=1)
    others = parts.clone()
    others[:, mains] = 0
    top, at = others.max(dim=1)
    share = top / projection.clamp_min(1e-12)
    silent = (codes[:, mains] == 0).all(dim=1)
    full = silent & (projection >= 0) & (cosine[at] >= FULL_COSINE) & (top > 0) & (share >= SHARE)
    near = torch.where((cosine >= COSINE) & (others > 0), others, torch.zeros(()))
    absorbers = near.topk(min(ABSORBERS, near.shape[1]), dim=1).values.sum(dim=1)
    least = torch.minimum(absorbers, projection - of_mains)
    partly = torch.where(of_mains <= 0, torch.ones(()), least / (least + of_mains).clamp_min(1e-12))
    none = (absorbers < SHARE * projection) | (of_mains >= projection) | (absorbers <= 0) | (projection <= 0)
    return full.numpy(), torch.where(none, torch.zeros(()), partly).double().numpy()


def main_latents(codes: Tensor, is_it: Tensor) -> tuple[tuple[int, ...], float]:
    """The latents of the smallest k-sparse probe (k ≤ 10) after which F1 rises by RISE at most, and its F1.

    Latents come in the order of the difference of their means, words of the letter less the others.
    """
    gap = codes[is_it].mean(dim=0) - codes[~is_it].mean(dim=0)
    order = gap.topk(min(MOST_MAINS, len(gap))).indices.tolist()
    best, score = (order[0],), -1.0
    for k in range(1, len(order) + 1):
        some = codes[:, order[:k]]
        some = some / some.std(dim=0).clamp_min(1e-6)
        weights, bias = fitted(some, is_it[:, None].float(), balanced=True)
        said = some @ weights + bias > 0
        f1 = f1_of(said[:, 0], is_it)
        if f1 <= score + RISE and k > 1:
            break
        best, score = tuple(order[:k]), f1
    return best, score


def _probes(words: Words) -> dict[int, tuple[Tensor, Tensor]]:
    """By letter with enough words: (its direction [d_out], [word] bool what its probe says)."""
    counts = [torch.bincount(words.letter[part], minlength=26) for part in (words.taught, ~words.taught)]
    places = [at for at in range(26) if counts[0][at] >= FEWEST_TAUGHT and counts[1][at] >= FEWEST_TESTED]
    if not places:
        return {}
    mean = words.written[words.taught].mean(dim=0)
    scale = float((words.written[words.taught] - mean).square().mean().sqrt().clamp_min(1e-12))
    x = (words.written - mean) / scale
    truth = torch.stack([words.letter == place for place in places], dim=1).float()
    weights, bias = fitted(x[words.taught], truth[words.taught])
    said = x @ weights + bias > 0
    return {place: (weights[:, at], said[:, at]) for at, place in enumerate(places)}


def fitted(x: Tensor, truth: Tensor, *, balanced: bool = False) -> tuple[Tensor, Tensor]:
    """Logistic regressions of truth [row label] on x [row feature], L2 penalty PENALTY·‖w‖²: weights and biases.

    `balanced` weighs the rows of a label as much as all others, as one or few latents of a rare letter need.
    """
    rare = (1 - truth).sum(dim=0) / truth.sum(dim=0).clamp_min(1) if balanced else None
    with torch.enable_grad():
        weights = torch.zeros(x.shape[1], truth.shape[1], requires_grad=True)
        bias = torch.zeros(truth.shape[1], requires_grad=True)
        fitting = torch.optim.LBFGS([weights, bias], max_iter=ROUNDS, history_size=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            fitting.zero_grad()
            each = binary_cross_entropy_with_logits(x @ weights + bias, truth, reduction="none", pos_weight=rare)
            missed = each.mean(dim=0).sum()
            whole = missed + PENALTY * weights.square().sum()
            whole.backward()
            return whole

        fitting.step(loss)
    return weights.detach(), bias.detach()


def f1_of(said: Tensor, truth: Tensor) -> float:
    """2·TP/(2·TP + FP + FN), 0 where nothing is right."""
    hits = int((said & truth).sum())
    return 2 * hits / max(1, int(said.sum()) + int(truth.sum()))
