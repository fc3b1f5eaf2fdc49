"""Every analysis in the folder keeps the contract; a new file is tested here without an edit."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from click.testing import CliRunner

from analyses._contract import Analysis, Context, Inputs
from analyses._registry import registry
from data.store import Store
from hooks.errors import Cancelled, InputError
from hooks.model import Model
from interp.cli_run import run as run_command
from interp.keys import run_key
from interp.recipe import frame_digest
from interp.runs import compute, read_spec, reopen
from tests.pairs import OTHER, PAIR

INPUTS = {"prompt": Inputs(prompt=PAIR.clean), "pair": Inputs(pairs=(PAIR,)), "pairs": Inputs(pairs=(PAIR, OTHER))}

each = pytest.mark.parametrize("analysis", registry().values(), ids=lambda a: a.name)


@each
def test_declares_itself_in_words(analysis: Analysis) -> None:
    for text in (analysis.title, analysis.question, analysis.meaning, analysis.paper):
        assert len(text) > 8
    module = __import__(f"analyses.{analysis.name}", fromlist=["__doc__"])
    assert module.__doc__ is not None
    assert len(module.__doc__.split()) > 30, "the module docstring gives the question, the paper and our departures"
    assert analysis.needs


@each
def test_every_option_is_described_and_defaulted(analysis: Analysis) -> None:
    assert analysis.spec.model_config["frozen"]
    analysis.spec()
    for name, field in analysis.spec.model_fields.items():
        assert field.description, f"{name} has no description"


@each
def test_example_is_valid(analysis: Analysis) -> None:
    inputs = Inputs.from_dict(analysis.example)
    analysis.accept(inputs)
    read_spec(analysis, analysis.example.get("spec", {}))


@each
@pytest.mark.parametrize("need", ["prompt", "pair", "pairs"])
def test_runs_and_draws_from_stored_frames(analysis: Analysis, need: str, tiny: Model, workspace: Path) -> None:
    inputs, spec, store = INPUTS[need], analysis.spec(), Store(workspace)
    if need not in analysis.needs:
        with pytest.raises(InputError, match=analysis.name):
            analysis.accept(inputs)
        return
    done = compute(store, analysis, tiny, inputs, spec)
    assert set(done.frames) == set(analysis.columns)
    assert all(len(frame) for frame in done.frames.values())
    again = reopen(store, done.key)
    assert again.reused
    if analysis.pictures is not None:
        assert tuple(again.figures()) == analysis.pictures(spec), "the names told beforehand are those drawn"
    for name, frame in done.frames.items():
        assert frame_digest(again.frames[name]) == frame_digest(frame), f"{name} did not survive the store"
    for name, figure in again.figures().items():
        assert isinstance(figure, go.Figure), name
        assert figure.layout.meta["title"], name
    json.dumps(done.as_json(), allow_nan=False)


@each
def test_computes_the_same_twice(analysis: Analysis, tiny: Model) -> None:
    inputs = INPUTS[analysis.needs[0]]
    first, second = (analysis.run(tiny, inputs, analysis.spec(), Context()) for _ in range(2))
    assert {k: frame_digest(f) for k, f in first.items()} == {k: frame_digest(f) for k, f in second.items()}


@each
def test_display_options_are_not_part_of_the_key(analysis: Analysis, tiny: Model) -> None:
    inputs = INPUTS[analysis.needs[0]]
    key = run_key(analysis, tiny, inputs, analysis.spec())
    for name, field in analysis.spec.model_fields.items():
        if isinstance(field.default, bool):
            changed = run_key(analysis, tiny, inputs, analysis.spec.model_validate({name: not field.default}))
            assert (changed == key) == (name in analysis.spec.display_fields()), name


@each
def test_can_be_cancelled(analysis: Analysis, tiny: Model, workspace: Path) -> None:
    def stop(_fraction: float, _label: str) -> None:
        raise Cancelled("stopped by the test")

    store, inputs = Store(workspace), INPUTS[analysis.needs[-1]]
    with pytest.raises(Cancelled):
        compute(store, analysis, tiny, inputs, analysis.spec(), progress=stop)
    assert list(store.list_runs()["status"]) == ["cancelled"]
    assert not compute(store, analysis, tiny, inputs, analysis.spec()).reused


@each
def test_has_a_command_with_help_from_its_spec(analysis: Analysis) -> None:
    help_text = CliRunner().invoke(run_command, [analysis.name, "--help"]).output
    for name in analysis.spec.model_fields:
        assert f"--{name.replace('_', '-')}" in help_text
