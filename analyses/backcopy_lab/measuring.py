"""What is read off a model of the Bigram-Backcopy task: both risks, and of every layer sink, drain and peak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analyses._stats import Estimate, Floats, mean_interval, ratio_interval
from analyses.backcopy_lab.task import Task, oracle, sample
from hooks.checkpoints.backcopy_attention import watching
from hooks.errors import InputError

KINDS = ("triggers", "others")
"""What follows a trigger is certain (risk 0 for whoever knows the law); what follows another is its bigram row."""


@dataclass(frozen=True, eq=False)
class Tested:
    """The sequences that every measurement reads, and what the law says about them."""

    tokens: Tensor
    """[sequence pos]."""
    told: Tensor
    """[sequence pos token] the law's probabilities of the next token."""
    masks: dict[str, Tensor]
    """By kind, [sequence pos] which queries are of it; the first token is of neither."""
    floors: dict[str, float]
    """By kind, the law's own entropy at those queries, in nats."""
    entropies: Tensor
    """[sequence pos] the law's own entropy."""


def draw_tested(task: Task, sequences: int, length: int, random: torch.Generator) -> Tested:
    """Fresh sequences from the law. Raises InputError where they hold no trigger, or nothing else."""
    tokens = sample(task, sequences, length, random)
    masks = dict(zip(KINDS, (task.is_trigger(tokens), task.is_other(tokens)), strict=True))
    for kind, mask in masks.items():
        if not mask.any():
            raise InputError(
                f"{sequences} sequences of length {length} hold no {kind} among {len(task.characters)} characters of "
                f"which {task.triggers} are triggers; choose a longer length, another number of triggers, or more text"
            )
    floors = {kind: float(task.entropies[tokens[mask]].mean()) for kind, mask in masks.items()}
    return Tested(tokens, oracle(task, tokens), masks, floors, task.entropies[tokens])


@dataclass(frozen=True, eq=False)
class Seen:
    """One pass over the tested sequences; layers in order."""

    log_probs: Tensor
    """[sequence pos token] float64."""
    patterns: list[Tensor]
    """Of each layer [sequence head dst src]."""
    values: list[Tensor]
    """Of each layer ‖v‖, [sequence head pos]."""
    residuals: list[Tensor]
    """‖r‖ after the embedding and after each layer, [sequence pos]."""


def see(module: Any, tokens: Tensor) -> Seen:
    """Run the model over [sequence pos] tokens without gradients."""
    with torch.no_grad(), watching(module) as labs, _residual_norms(module) as residuals:
        logits = module(tokens, use_cache=False).logits
        patterns, values = [], []
        for lab in labs:
            assert lab.pattern is not None
            assert lab.values is not None
            patterns.append(lab.pattern)
            values.append(lab.values.norm(dim=-1))
    return Seen(logits.double().log_softmax(-1), patterns, values, residuals)


@contextmanager
def _residual_norms(module: Any) -> Iterator[list[Tensor]]:
    """Norms of the embedding and of what each layer gives; Hugging Face's own last state is already normalised."""
    norms: list[Tensor] = []

    def note(_part: Any, _given: Any, made: Any) -> None:
        state = made[0] if isinstance(made, tuple) else made
        norms.append(state.detach().norm(dim=-1))

    parts = [module.model.embed_tokens, *module.model.layers]
    handles = [part.register_forward_hook(note) for part in parts]
    try:
        yield norms
    finally:
        for handle in handles:
            handle.remove()


def cross_entropies(tested: Tested, log_probs: Tensor) -> Tensor:
    """[sequence pos] cross-entropy of the law and the model, in nats."""
    # The model's last token, the unknown, is none of the law's.
    known = log_probs[..., : tested.told.shape[-1]]
    # 0 · −inf would be NaN where a model rules out what the law rules out too.
    return -torch.where(tested.told > 0, tested.told * known, 0.0).sum(dim=-1)


def over_queries(values: Tensor, mask: Tensor) -> Estimate:
    """Mean of `values` [sequence pos] over the queries of `mask`, its interval over sequences."""
    kept = torch.where(mask, values.double(), 0.0)
    return ratio_interval(kept.sum(dim=1).numpy(), mask.sum(dim=1).double().numpy())


def per_sequence(values: Tensor, mask: Tensor) -> tuple[Floats, Floats]:
    """Sums of `values` [sequence pos] over the queries of `mask`, and how many there are, [sequence] both."""
    kept = torch.where(mask, values.double(), 0.0)
    return kept.sum(dim=1).numpy(), mask.sum(dim=1).double().numpy()


def risk_rows(step: int, tested: Tested, seen: Seen) -> list[dict[str, object]]:
    """Of each kind: the risk, the law's floor, and the interval of what is above it, drawn around the risk.

    The tested characters have a floor of their own, so the scatter of which were drawn says nothing about the model.
    """
    losses = cross_entropies(tested, seen.log_probs)
    rows: list[dict[str, object]] = []
    for kind in KINDS:
        floor = tested.floors[kind]
        above, low, high = map(float, over_queries(losses - tested.entropies, tested.masks[kind]))
        rows.append({"step": step, "kind": kind, "risk": floor + above, "low": floor + max(low, 0.0),
                     "high": floor + high, "floor": floor})  # fmt: skip
    return rows


def head_rows(step: int, tested: Tested, seen: Seen) -> list[dict[str, object]]:
    """Of each layer and head: sink on both kinds of queries, what a row sums to, and the drain of the first value."""
    rows: list[dict[str, object]] = []
    for layer, (pattern, norms) in enumerate(zip(seen.patterns, seen.values, strict=True)):
        for head in range(pattern.shape[1]):
            row: dict[str, object] = {"step": step, "layer": layer, "head": head}
            for kind in KINDS:
                found = over_queries(pattern[:, head, :, 0], tested.masks[kind])
                names = (f"sink_{kind}", f"sink_{kind}_low", f"sink_{kind}_high")
                row |= dict(zip(names, map(float, found), strict=True))
            mass = pattern[:, head].sum(dim=-1)
            row |= {f"mass_{kind}": float(mass[tested.masks[kind]].mean()) for kind in KINDS}
            for kind in KINDS:
                on_first, whole = (per_sequence(one, tested.masks[kind])[0] for one in (pattern[:, head, :, 0], mass))
                names = (f"share_{kind}", f"share_{kind}_low", f"share_{kind}_high")
                row |= dict(zip(names, map(float, ratio_interval(on_first, whole)), strict=True))
            rows.append(row | _first_and_others("drain", norms[:, head]))
    return rows


def residual_rows(step: int, seen: Seen) -> list[dict[str, object]]:
    """After the embedding (layer missing) and after each layer: the first token's norm and the others'."""
    return [
        {"step": step, "layer": None if place == 0 else place - 1} | _first_and_others("peak", norms)
        for place, norms in enumerate(seen.residuals)
    ]


def _first_and_others(name: str, norms: Tensor) -> dict[str, object]:
    """Norms [sequence pos]: the first token's, the others' mean, and their ratio's mean and interval over sequences."""
    first, others = norms[:, 0].double(), norms[:, 1:].double().mean(dim=1)
    ratio = mean_interval((first / others).numpy()) if bool((others > 0).all()) else Estimate(*[np.array(np.nan)] * 3)
    named = dict(zip((name, f"{name}_low", f"{name}_high"), map(float, ratio), strict=True))
    return {"first": float(first.mean()), "others": float(others.mean()), **named}
