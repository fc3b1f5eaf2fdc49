"""Sweeps: both engines equal a loop by hand and TransformerLens' own patching, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from hooks.capture import Cache, run_with_cache
from hooks.fast_sweep import fast
from hooks.interventions import Add, Clamp, Patch, Scale
from hooks.metrics import Metric, divergence, log_prob, logit_diff
from hooks.model import Model
from hooks.sites import DERIVED_KINDS, PATTERN_KINDS, Site
from hooks.sweep import ENGINES, Cell, define, run_sweep

POS = 6
PAIRS = [(1, 20), (13, 50), (60, 2), (30, 31), (70, 5)]
"""Cells that are also tried together, in this order."""


@pytest.fixture(scope="module")
def grid_of() -> Callable[..., list[Cell]]:
    """grid_of(model, cache, kind, by_head, by_pos): denoising patches, layers first, then positions, then heads."""

    def grid(model: Model, cache: Cache, kind: str, by_head: bool, by_pos: bool) -> list[Cell]:
        heads = range(model.geometry.n_heads) if by_head else [None]
        cells = []
        for layer, pos, head in product(range(model.geometry.n_layers), range(POS) if by_pos else [None], heads):
            site = Site(layer, kind, head=head, position=pos)
            # Of the clean run: the same slice, with its position axis.
            cells.append(Cell({"layer": layer, "pos": str(pos), "head": str(head)}, (Patch(site, cache[site]),)))
        return cells

    return grid


@pytest.fixture(scope="module")
def clean(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 1, POS, seed=3)


@pytest.fixture(scope="module")
def corrupted(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 1, POS, seed=4)


@pytest.fixture
def corrupted_tiny(tiny: Model, draw) -> Tensor:
    return draw(tiny, 1, POS, seed=4)


each_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.mark.parametrize(
    ("function", "kind", "by_head", "by_pos"),
    [
        ("get_act_patch_resid_pre", "resid_pre", False, True),
        ("get_act_patch_attn_out", "attn_out", False, True),
        ("get_act_patch_mlp_out", "mlp_out", False, True),
        ("get_act_patch_attn_head_out_all_pos", "z", True, False),
        ("get_act_patch_attn_head_out_by_pos", "z", True, True),
    ],
)
def test_the_grid_equals_transformer_lens(any_tiny, clean, corrupted, grid_of, function, kind, by_head, by_pos) -> None:
    from transformer_lens import patching

    metric = logit_diff(5, 11)
    _, bridge_cache = any_tiny.bridge.run_with_cache(clean)
    with torch.no_grad():
        theirs = getattr(patching, function)(any_tiny.bridge, corrupted, bridge_cache, lambda x: metric(x[:, -1])[0])
    places = [Site(layer, kind) for layer in range(any_tiny.geometry.n_layers)]
    cells = grid_of(any_tiny, run_with_cache(any_tiny, clean, places), kind, by_head, by_pos)
    for engine in ENGINES:
        swept = run_sweep(any_tiny, corrupted, cells, [metric], engine=engine)
        assert (swept.engine, swept.fallback) == (engine, "")
        torch.testing.assert_close(swept.values[:, 0].reshape(theirs.shape), theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 1e-2, "a flat grid proves nothing"


@each_engine
def test_a_sweep_is_one_forward_a_cell(any_tiny: Model, clean, corrupted, grid_of, engine: str) -> None:
    sites = [Site(layer, "z") for layer in range(any_tiny.geometry.n_layers)]
    cells = grid_of(any_tiny, run_with_cache(any_tiny, clean, sites), "z", True, False)
    metrics: list[Metric] = [logit_diff(1, 2), log_prob(7), divergence(any_tiny.logits(clean)[0, -1])]
    swept = run_sweep(any_tiny, corrupted, cells, metrics, engine=engine)
    by_hand = [[float(m(any_tiny.logits(corrupted, c.interventions)[:, -1])) for m in metrics] for c in cells]
    torch.testing.assert_close(swept.values, torch.tensor(by_hand), atol=1e-5, rtol=1e-5)
    assert swept.engine == engine


def test_any_intervention_at_any_site_gives_the_same_in_both_engines(any_tiny: Model, corrupted, sites_of) -> None:
    """Kinds that the fast engine leaves to the definition are in here too, mixed with those that it takes."""
    cells = []
    for site in (s for s in sites_of(any_tiny.geometry) if s.kind not in DERIVED_KINDS):
        width = 1 if site.kind in PATTERN_KINDS else site.shape(any_tiny.geometry, 1, POS)[-1]
        for position in (None, -1, (1, 3)):
            there = replace(site, position=position)
            edits = [Scale(there, 0.3), Add(there, torch.linspace(-1, 1, width)), Clamp(there, -0.1, 0.1)]
            cells += [Cell({"site": site.name, "edit": i}, (edit,)) for i, edit in enumerate(edits)]
    cells += [Cell({"two": a, "then": b}, (*cells[a].interventions, *cells[b].interventions)) for a, b in PAIRS]
    fast, defined = (run_sweep(any_tiny, corrupted, cells, [log_prob(3)], engine=engine) for engine in ENGINES)
    torch.testing.assert_close(fast.values, defined.values, atol=2e-5, rtol=1e-4)
    assert "cells by the definition: they edit patterns or embeddings" in fast.fallback


@each_engine
def test_the_end_of_one_block_comes_before_the_start_of_the_next(tiny: Model, corrupted_tiny, engine: str) -> None:
    end, start, ones = Site(0, "resid_post"), Site(1, "resid_pre"), torch.ones(tiny.geometry.d_model)
    edits = (Scale(start, 3.0), Add(end, ones))
    swept = run_sweep(tiny, corrupted_tiny, [Cell({}, edits), Cell({}, edits[::-1])], [log_prob(3)], engine=engine)
    value = (run_with_cache(tiny, corrupted_tiny, [start])[start] + 1) * 3
    expected = float(log_prob(3)(tiny.logits(corrupted_tiny, [Patch(start, value)])[:, -1]))
    assert swept.values[:, 0].tolist() == pytest.approx([expected] * 2, abs=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_how_cells_are_batched_changes_nothing(any_tiny: Model, clean, corrupted, grid_of, rows: int) -> None:
    places = [Site(layer, "resid_pre") for layer in range(any_tiny.geometry.n_layers)]
    cells = grid_of(any_tiny, run_with_cache(any_tiny, clean, places), "resid_pre", False, True)
    found = fast(any_tiny, corrupted, cells[::-1], [log_prob(3)], rows=rows)
    torch.testing.assert_close(found, define(any_tiny, corrupted, cells[::-1], [log_prob(3)]), atol=1e-5, rtol=1e-5)


@each_engine
def test_patching_everything_recovers_the_clean_run(any_tiny: Model, clean, corrupted, engine: str) -> None:
    site, metric = Site(0, "resid_pre"), logit_diff(5, 11)
    value = run_with_cache(any_tiny, clean, [site])[site]
    cells = [Cell({"what": "all"}, (Patch(site, value),)), Cell({"what": "nothing"}, ())]
    expected = [float(metric(any_tiny.logits(ids)[:, -1])) for ids in (clean, corrupted)]
    values = run_sweep(any_tiny, corrupted, cells, [metric], engine=engine).values[:, 0]
    assert values.tolist() == pytest.approx(expected, abs=1e-5)
