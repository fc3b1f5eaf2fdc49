"""The predicted time of a sweep is within a small factor of the time it takes."""

from __future__ import annotations

import time

import torch

from hooks.capture import run_with_cache
from hooks.interventions import Patch
from hooks.metrics import log_prob, logit_diff
from hooks.model import Model
from hooks.sites import Site
from hooks.sweep import Cell, plan, run_sweep


def _cells(model: Model, source: torch.Tensor) -> list[Cell]:
    sites = [Site(layer, "resid_pre") for layer in range(model.geometry.n_layers)]
    cache = run_with_cache(model, source, sites, last_only=True)
    places = [Site(site.layer, "resid_pre", None, p) for site in sites for p in range(source.shape[1])]
    return [Cell({}, (Patch(site, cache[site]),)) for site in places]


def test_unchanged_cells_cost_nothing(tiny: Model) -> None:
    same = torch.tensor([[5, 6, 7, 8, 9, 10]])
    cells = _cells(tiny, same)
    assert plan(tiny, same, cells).forwards == 1
    other = torch.tensor([[5, 6, 7, 8, 9, 11]])
    changed = plan(tiny, other, cells)
    assert changed.cells == len(cells)
    # Only the last position's patches differ: one row of six, for all the layers that remain.
    assert 1 < changed.forwards <= 1 + tiny.geometry.n_layers


def test_the_prediction_is_of_the_right_size(real: Model) -> None:
    clean, corrupted = (
        torch.tensor([real.encode(f"When John and Mary went to the store, {name} gave a drink to")])
        for name in ("John", "Mary")
    )
    cells = _cells(real, clean)
    predicted = plan(real, corrupted, cells).seconds
    started = time.perf_counter()
    run_sweep(real, corrupted, cells, [logit_diff(1, 2), log_prob(1)])
    took = time.perf_counter() - started
    # Twofold is what it does on a quiet machine; the old prediction was eight times too long.
    assert took / 4 < predicted < took * 4
