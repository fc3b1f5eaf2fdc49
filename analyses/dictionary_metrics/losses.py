"""What a model loses when a dictionary's reconstruction stands in place of an activation: cross-entropy and KL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analyses._stats import Estimate, group_sums, ratio_interval
from analyses._stats.checks import Floats, none_of
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.sites import Site
from kernels.vocab_lens import vocab_lens

if TYPE_CHECKING:
    from hooks.model import Model

TOGETHER = 2048
"""Most tokens of equally long texts that run together."""

LEAST = 1e-6
"""Nats a token that an ablation must cost at least: what is recovered is divided by it."""

Making = Callable[[Mapping[Site, Tensor]], Mapping[Site, Tensor]]
"""From [row channel] of each site as the unchanged model has it, [row channel] that is put at some of them."""


@dataclass(frozen=True, eq=False)
class Losses:
    """Sums over the predictions of each document, in nats; the one after the first token of each piece is left out.

    Attributes:
        clean: [document] cross-entropy of the unchanged model.
        entropies: by arm, [document] cross-entropy.
        divergences: by arm, [document] KL(unchanged ‖ arm).
        predicted: [document] how many predictions.
    """

    clean: Floats
    entropies: dict[str, Floats]
    divergences: dict[str, Floats]
    predicted: Floats


@torch.no_grad()
def measured(
    model: Model,
    sites: Sequence[Site],
    texts: Sequence[Sequence[int]],
    documents: Sequence[int],
    arms: Mapping[str, Making],
    progress: Callable[[float, str], None],
) -> Losses:
    """Patch what each arm makes of `sites` into those that it says, at every token but the first of each text.

    `documents` [text] says which texts are pieces of one; they are summed, for they are no independent draws.

    Raises InputError where no text has three tokens, so that nothing after the first is predicted.
    """
    usable = [list(one) for one in texts if len(one) > 2]
    whose = [one for one, ids in zip(documents, texts, strict=True) if len(ids) > 2]
    if not usable:
        raise InputError("no text has three tokens: nothing is predicted from what a dictionary reconstructs")
    clean = np.zeros(len(usable))
    entropies = {name: np.zeros(len(usable)) for name in arms}
    divergences = {name: np.zeros(len(usable)) for name in arms}
    done = 0
    for places in _groups(usable):
        progress(done / len(usable), f"losses, text {done + 1} of {len(usable)}")
        ids = torch.tensor([usable[place] for place in places], device=model.device)
        clean[places] = _group(model, sites, ids, arms, (entropies, divergences), places)
        done += len(places)
    predicted = np.array([len(one) - 2.0 for one in usable])
    return Losses(
        group_sums(clean, whose)[0], {name: group_sums(one, whose)[0] for name, one in entropies.items()},
        {name: group_sums(one, whose)[0] for name, one in divergences.items()}, group_sums(predicted, whose)[0],
    )  # fmt: skip


def _group(
    model: Model, sites: Sequence[Site], ids: Tensor, arms: Mapping[str, Making],
    into: tuple[dict[str, Floats], dict[str, Floats]], places: list[int],
) -> Floats:  # fmt: skip
    """Texts of one length; the sums of the unchanged model, and each arm's put into `into`."""
    final = Site(model.geometry.n_layers - 1, "resid_post")
    kept = run_with_cache(model, ids, list(dict.fromkeys([*sites, final])), last_only=True)
    targets = ids[:, 2:].reshape(-1, 1)
    reference = _normed(model, kept[final])
    clean = vocab_lens(reference, model.W_U, model.b_U, targets=targets).target_log_probs
    read = {site: kept[site].flatten(2)[:, 1:].flatten(0, 1).float() for site in sites}
    for name, make in arms.items():
        edits = []
        for site, made in make(read).items():
            value = kept[site].clone()
            value[:, 1:] = made.view_as(value[:, 1:]).to(value)
            edits.append(Patch(site, value))
        run = run_with_cache(model, ids, [final], edits, last_only=True)
        found = vocab_lens(_normed(model, run[final]), model.W_U, model.b_U, targets=targets, reference=reference)
        assert found.kl is not None
        into[0][name][places] = _sums(-found.target_log_probs, len(ids))
        into[1][name][places] = _sums(found.kl, len(ids))
    return _sums(-clean, len(ids))


def _normed(model: Model, stream: Tensor) -> Tensor:
    """[prediction d_model] of [text pos d_model]: those from the second token on that have a next token."""
    normed = model.final_norm(stream[:, 1:-1].flatten(0, 1))
    if not bool(normed.isfinite().all()):
        raise InputError("the final stream is not all finite numbers; a dtype with more range (float32) may help")
    return normed


def _sums(values: Tensor, texts: int) -> Floats:
    return np.asarray(values.double().reshape(texts, -1).sum(dim=1).cpu().numpy(), dtype=np.float64)


def _groups(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    by_length: dict[int, list[int]] = {}
    for place, ids in enumerate(texts):
        by_length.setdefault(len(ids), []).append(place)
    found = []
    for length, places in by_length.items():
        size = max(1, TOGETHER // length)
        found += [places[first : first + size] for first in range(0, len(places), size)]
    return found


def a_token(losses: Losses, sums: Floats) -> Estimate:
    """Nats a predicted token, with its interval over documents."""
    return ratio_interval(sums, losses.predicted)


def entropy_recovered(losses: Losses, arm: str, ablated: str) -> Estimate:
    """(CE ablated − CE arm)/(CE ablated − CE unchanged), its interval over documents; NaN where it costs nothing."""
    gone = losses.entropies[ablated]
    return _share(gone - losses.entropies[arm], gone - losses.clean, losses)


def divergence_recovered(losses: Losses, arm: str, ablated: str) -> Estimate:
    """(KL ablated − KL arm)/KL ablated, with its interval over documents; NaN where ablation changes nothing."""
    gone = losses.divergences[ablated]
    return _share(gone - losses.divergences[arm], gone, losses)


def _share(above: Floats, below: Floats, losses: Losses) -> Estimate:
    if abs(below.sum()) < LEAST * losses.predicted.sum():
        return none_of(np.asarray(np.nan))
    return ratio_interval(above, below)
