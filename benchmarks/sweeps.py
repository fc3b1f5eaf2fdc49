"""Causal sweeps on the default model beside TransformerLens' own patching functions, on the same two prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._harness import Row, faster, in_turns
from hooks.capture import run_with_cache
from hooks.fast_sweep import fast
from hooks.interventions import Patch
from hooks.load import load
from hooks.metrics import logit_diff
from hooks.model import Model
from hooks.sites import Site
from hooks.sweep import Cell

CLEAN = "When John and Mary went to the store, John gave a drink to"
CORRUPTED = "When John and Mary went to the store, Mary gave a drink to"


def rows(workspace: Path) -> Iterator[Row]:
    """The residual grid with and without answering unchanged cells from the base run, and heads by position."""
    from transformer_lens import patching

    model = load("smollm2-135m", workspace)
    clean, corrupted = model.tokens(CLEAN), model.tokens(CORRUPTED)
    answer, distractor = model.single_token(" Mary"), model.single_token(" John")
    metric = logit_diff(answer, distractor)

    @torch.no_grad()
    def peer(kind: str) -> Tensor:
        _, cache = model.bridge.run_with_cache(clean)
        function = {"resid_pre": patching.get_act_patch_resid_pre, "z": patching.get_act_patch_attn_head_out_by_pos}[
            kind
        ]
        return function(model.bridge, corrupted, cache, lambda logits: metric(logits[:, -1])[0])

    def ours(kind: str, skip: bool) -> Tensor:
        return fast(model, corrupted, cells(model, clean, kind), [metric], skip_unchanged=skip)[:, 0]

    for kind, title, repeats, goal in (("resid_pre", "IOI residual grid, 30 × 14 cells", 3, 15.0),
                                       ("z", "head z by position, 30 × 9 × 14 cells", 1, 15.0)):  # fmt: skip
        expected = reordered(peer(kind), kind)
        for skip, how in ((False, "every cell computed"), (True, "cells equal to the base run answered by it")):
            difference = float((ours(kind, skip).reshape(expected.shape) - expected).abs().max())
            mine, theirs = in_turns(lambda k=kind, s=skip: ours(k, s), lambda k=kind: peer(k), 5, repeats)  # type: ignore[misc]
            yield faster(f"{title}, fp32, {how}", mine, theirs, goal, difference, 1e-4, "peer: TransformerLens")


def cells(model: Model, clean: Tensor, kind: str) -> list[Cell]:
    """All cells of a grid, the clean run included, as a user pays for it."""
    layers, places = range(model.geometry.n_layers), range(clean.shape[1])
    heads: list[int | None] = list(range(model.geometry.n_heads)) if kind == "z" else [None]
    cache = run_with_cache(model, clean, [Site(layer, kind) for layer in layers], last_only=True)
    sites = [Site(layer, kind, head, place) for layer in layers for head in heads for place in places]
    return [Cell({}, (Patch(site, cache[site]),)) for site in sites]


def reordered(grid: Tensor, kind: str) -> Tensor:
    """TransformerLens gives heads by position as [layer position head]; ours is [layer head position]."""
    return grid.transpose(1, 2) if kind == "z" else grid
