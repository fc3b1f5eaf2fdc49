"""Sweeps asked for wrongly, planned, watched and cancelled."""

from __future__ import annotations

import re

import pytest
import torch

from hooks.errors import Cancelled, InputError
from hooks.interventions import Patch, Zero
from hooks.metrics import log_prob, logit_diff
from hooks.model import Model
from hooks.sites import Site
from hooks.sweep import ENGINES, Cell, plan, run_sweep

each_engine = pytest.mark.parametrize("engine", ENGINES)


@each_engine
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_is_refused_and_its_cell_named(tiny: Model, draw, engine: str, number: float) -> None:
    poison = Patch(Site(1, "resid_pre", position=-1), torch.full((1, 1, tiny.geometry.d_model), number))
    cells = [Cell({"layer": 0}, ()), Cell({"layer": 1}, (poison,))]
    with pytest.raises(InputError, match=r"logit_diff is NaN in 1 of 2 results, first at \{'layer': 1\}"):
        run_sweep(tiny, draw(tiny), cells, [logit_diff(0, 1)], engine=engine)


@each_engine
@pytest.mark.parametrize(
    ("intervention", "says"),
    [
        (Zero(Site(99, "z")), "layer 99 does not exist"),
        (Zero(Site(0, "z", head=99)), "head 99 of 'z' does not exist"),
        (Zero(Site(0, "z", position=99)), "position 99 of z L0 does not exist: valid are 0 to 6"),
        (Zero(Site(0, "z", position=())), "z L0 names no position"),
        (Zero(Site(0, "ln1_scale")), "'ln1_scale' is derived"),
        (Patch(Site(1, "resid_pre"), torch.zeros(1, 3, 5)), "Patch at resid_pre L1 does not fit"),
        (Zero(Site(0, "resid_post", head=1)), "'resid_post' has no heads"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(tiny: Model, draw, engine: str, intervention, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        run_sweep(tiny, draw(tiny), [Cell({}, (intervention,))], [log_prob(0)], engine=engine)


@pytest.mark.parametrize("shape", [(2, 5), (5,)])
def test_a_sweep_reads_one_prompt(tiny: Model, shape) -> None:
    with pytest.raises(InputError, match="a sweep reads one prompt"):
        run_sweep(tiny, torch.zeros(shape, dtype=torch.long), [Cell({}, ())], [log_prob(0)])


def test_an_unknown_engine_offers_the_known(tiny: Model, draw) -> None:
    for ask in (
        lambda: run_sweep(tiny, draw(tiny), [], [], engine="definitoin"),
        lambda: plan(tiny, draw(tiny), [], "quick"),
    ):
        with pytest.raises(InputError, match="unknown sweep engine"):
            ask()


def test_the_plan_counts_forwards(tiny: Model, draw) -> None:
    cells = [Cell({"layer": layer}, (Zero(Site(layer, "z")),)) for layer in range(3)]
    planned = plan(tiny, draw(tiny), cells, "definition")
    assert (planned.cells, planned.forwards, planned.engine) == (3, 3, "definition")
    assert 0 < planned.seconds < float("inf")


@each_engine
def test_progress_counts_and_may_cancel(tiny: Model, draw, engine: str) -> None:
    cells = [Cell({"layer": layer}, (Zero(Site(layer, "z")),)) for layer in range(3)]
    said: list[tuple[float, str]] = []
    run_sweep(tiny, draw(tiny), cells, [log_prob(0)], engine=engine, progress=lambda f, label: said.append((f, label)))
    assert said[0][0] == 0.0
    assert "of 3" in said[0][1]
    assert [f for f, _ in said] == sorted(f for f, _ in said)

    def stop(fraction: float, label: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        run_sweep(tiny, draw(tiny), cells, [log_prob(0)], engine=engine, progress=stop)
