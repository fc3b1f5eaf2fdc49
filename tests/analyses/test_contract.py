"""Every analysis in the folder keeps the contract; a new file is tested here without an edit."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, get_args

import plotly.graph_objects as go
import pytest
from click.testing import CliRunner

from analyses._contract import Analysis, Context, Frames, Inputs, Need, Spec
from analyses._registry import broken, names, registry
from data.store import Store
from hooks.errors import Cancelled, InputError
from hooks.model import Model
from interp.batch import read_batch
from interp.cli_run import AnalysisGroup
from interp.cli_run import run as run_command
from interp.embed import read_recipe
from interp.inputs import Request
from interp.keys import run_key
from interp.options import choices, given, plain_type
from interp.recipe import frame_digest
from interp.runs import compute, read_spec, reopen
from interp.script import batch_file, command_line
from tests.analyses.trials import INPUTS, REQUESTS, others, trial

each = pytest.mark.parametrize("analysis", registry().values(), ids=lambda a: a.name)
MODEL = {"spec": "toy:random", "dtype": "float32"}


def digests(frames: Frames) -> dict[str, str]:
    return {name: frame_digest(frame) for name, frame in frames.items()}


def test_every_file_in_the_folder_is_an_analysis() -> None:
    assert broken() == {}
    assert list(registry()) == list(names())


@each
def test_declares_itself_in_words(analysis: Analysis) -> None:
    for text in (analysis.title, analysis.question, analysis.meaning, analysis.paper):
        assert len(text) > 8
    module = __import__(f"analyses.{analysis.name}", fromlist=["__doc__"])
    assert module.__doc__ is not None
    assert len(module.__doc__.split()) > 30, "the module docstring gives the question, the paper and our departures"
    assert analysis.needs
    assert set(analysis.needs) <= set(get_args(Need))
    assert set(analysis.onward) <= set(names()) - {analysis.name}


@each
def test_every_option_is_described_and_defaulted(analysis: Analysis) -> None:
    assert analysis.spec.model_config["frozen"]
    analysis.spec()
    for name, field in analysis.spec.model_fields.items():
        assert field.description, f"{name} has no description"
        plain_type(field.annotation)


@each
def test_example_is_valid(analysis: Analysis) -> None:
    asked = {name: value for name, value in analysis.example.items() if name != "spec"}
    if "set" in asked:
        Request.from_dict(asked).check(analysis)
    else:
        analysis.accept(Inputs.from_dict(asked))
    read_spec(analysis, analysis.example.get("spec", {}))


@each
@pytest.mark.parametrize("need", get_args(Need))
def test_runs_and_draws_from_stored_frames(
    analysis: Analysis, need: Need, tiny: Model, workspace: Path, models_folder: Path
) -> None:
    if need not in analysis.needs:
        if not INPUTS[need].kinds & set(analysis.needs):
            with pytest.raises(InputError, match=analysis.name):
                analysis.accept(INPUTS[need])
        return
    inputs, spec = trial(analysis, tiny, need)
    store = Store(workspace)
    done = compute(store, analysis, tiny, inputs, spec, used=others(spec, models_folder))
    assert set(done.frames) == set(analysis.columns)
    assert any(len(frame) for frame in done.frames.values()), "some frame has something to say"
    again = reopen(store, done.key)
    assert again.reused
    if analysis.pictures is not None:
        assert tuple(again.figures()) == analysis.pictures(spec), "the names told beforehand are those drawn"
    for name, frame in done.frames.items():
        assert frame_digest(again.frames[name]) == frame_digest(frame), f"{name} did not survive the store"
    for name, figure in again.figures().items():
        assert isinstance(figure, go.Figure), name
        assert figure.layout.meta["title"], name
        again.export(workspace / f"{name}.svg", name)
        assert read_recipe(workspace / f"{name}.svg")["run"] == done.key
    json.dumps(done.as_json(), allow_nan=False)


@each
def test_computes_the_same_twice_and_reads_no_display_option(
    analysis: Analysis, tiny: Model, models_folder: Path
) -> None:
    inputs, spec = trial(analysis, tiny)
    context = Context(use=others(spec, models_folder).__getitem__)
    first = digests(analysis.run(tiny, inputs, spec, context))
    assert digests(analysis.run(tiny, inputs, spec, context)) == first
    choices_left = other_values(spec).items()
    shown = {name: values[0] for name, values in choices_left if name in spec.display_fields() and values}
    if shown:
        redrawn = read_spec(analysis, spec.model_dump() | shown)
        assert digests(analysis.run(tiny, inputs, redrawn, context)) == first, f"run reads one of {list(shown)}"


@each
def test_display_options_are_not_part_of_the_key(analysis: Analysis, tiny: Model) -> None:
    inputs, spec = trial(analysis, tiny)
    key = run_key(analysis, tiny, inputs, spec)
    for name, values in other_values(spec).items():
        for value in values:
            changed = run_key(analysis, tiny, inputs, spec.model_copy(update={name: value}))
            assert (changed == key) == (name in spec.display_fields()), name


def other_values(spec: Spec) -> dict[str, list[Any]]:
    """For each switch and choice of a spec, the values that it does not have."""
    found = {}
    for name, field in type(spec).model_fields.items():
        element, many = plain_type(field.annotation)
        valid = [False, True] if element is bool else choices(element) if not many else []
        found[name] = [value for value in valid if value != getattr(spec, name)]
    return found


@each
def test_can_be_cancelled(analysis: Analysis, tiny: Model, workspace: Path, models_folder: Path) -> None:
    def stop(_fraction: float, _label: str) -> None:
        raise Cancelled("stopped by the test")

    store = Store(workspace)
    inputs, spec = trial(analysis, tiny, analysis.needs[-1])
    used = others(spec, models_folder)
    with pytest.raises(Cancelled):
        compute(store, analysis, tiny, inputs, spec, progress=stop, used=used)
    assert list(store.list_runs()["status"]) == ["cancelled"]
    assert not compute(store, analysis, tiny, inputs, spec, used=used).reused


@each
def test_has_a_command_with_help_from_its_spec(analysis: Analysis) -> None:
    help_text = CliRunner().invoke(run_command, [analysis.name, "--help"]).output
    for name in analysis.spec.model_fields:
        assert f"--{name.replace('_', '-')}" in help_text


@each
def test_the_words_of_its_script_say_the_same_run(analysis: Analysis, tmp_path: Path) -> None:
    spec = read_spec(analysis, analysis.example.get("spec", {}))
    for value in (analysis.spec(), spec):
        for need in analysis.needs:
            inputs = {"request": REQUESTS[need]}
            words = shlex.split(command_line(analysis.name, MODEL, inputs, value))[3:]
            command = AnalysisGroup().get_command(None, analysis.name)  # type: ignore[arg-type]
            assert command is not None
            parsed = command.make_context(analysis.name, words).params
            asked = Request.from_dict({name: parsed[name] for name in Request.__dataclass_fields__})
            assert asked == Request.from_dict(REQUESTS[need])
            assert read_spec(analysis, given(analysis.spec, parsed)) == value
            if need in ("prompt", "pair"):
                file = tmp_path / "batch.yaml"
                file.write_text(batch_file(analysis.name, MODEL, inputs, value))
                (item,) = read_batch(file)
                assert (item.request, read_spec(analysis, item.spec)) == (asked, value)


def test_the_inputs_of_these_tests_are_of_every_kind(tiny: Model) -> None:
    assert set(INPUTS) == set(get_args(Need)) == set(REQUESTS)
    assert all(need in inputs.kinds for need, inputs in INPUTS.items())
    assert all(tiny.encode(text) for inputs in INPUTS.values() for text in inputs.read)


@each
def test_the_example_can_be_asked_for_on_a_page(analysis: Analysis) -> None:
    """A page's form holds one prompt, pair or task, or a set; what it cannot hold would be lost when Run is pressed."""
    inputs = Inputs.from_dict(analysis.example)
    assert len(inputs.pairs) + len(inputs.tasks) + len(inputs.texts) <= 1
    assert not any(task.related or task.label or task.group for task in inputs.tasks)
