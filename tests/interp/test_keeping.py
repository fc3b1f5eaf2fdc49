"""What a run leaves behind and shows on the way: artifacts, checkpoints, live rows; and what a later run uses of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from analyses._contract import Column, Context, Frames, Inputs, Spec, an_artifact
from analyses._registry import get
from data.artifacts import load_artifact, save_artifact
from hooks.checkpoints import catalogue
from hooks.checkpoints.record import Origin
from hooks.errors import InputError
from hooks.model import Model
from interp.runs import compute
from interp.using import check_used, loaded
from interp.workbench import Workbench

SHOWN = pd.DataFrame({"step": [1, 2], "loss": [3.0, 2.0]})


class Options(Spec):
    probe: str | None = an_artifact("probe", "a probe")


def keeping(model: Model, _inputs: Inputs, spec: Options, context: Context) -> Frames:
    context.progress(0.0, "begun")
    used = float(context.use("probe").tensors["w"].sum()) if spec.probe else 0.0
    context.keep("mine", "probe", {"w": torch.ones(3)}, {"layer": 1})
    context.show("training", SHOWN)

    def save(folder: Path) -> Origin:
        model.module.save_pretrained(folder)  # type: ignore[operator]
        model.tokenizer.save_pretrained(folder)
        return Origin("step 5", "trained here", "none", "Apache-2.0")

    name = context.keep_model("step-5", save)
    return {"one": pd.DataFrame({"name": [name], "used": [used]})}


ANALYSIS = replace(
    get("logit_lens"), name="keeper", spec=Options, run=keeping, check=lambda *_: None,
    columns={"one": (Column("name", "", "a name"), Column("used", "", "a number"))},
)  # fmt: skip


def test_a_run_leaves_an_artifact_and_a_checkpoint_that_others_load(bench: Workbench, tiny: Model) -> None:
    seen: dict[str, pd.DataFrame] = {}
    done = compute(bench.store, ANALYSIS, tiny, Inputs(prompt="a b"), Options(), show=seen.__setitem__)
    assert seen["training"].equals(SHOWN)
    name = done.frames["one"]["name"][0]
    assert name == f"keeper-{done.key[:8]}-step-5"
    made = bench.model(name)
    assert torch.equal(made.W_O(0), tiny.W_O(0))
    assert name in [entry.name for entry in catalogue(bench.workspace) if entry.ready]
    (row,) = bench.artifacts("probe").to_dict("records")
    assert row["name"] == "mine"
    assert done.key in row["meta"], "the run that made it is told"


def test_an_artifacts_content_is_part_of_the_key(bench: Workbench, tiny: Model) -> None:
    compute(bench.store, ANALYSIS, tiny, Inputs(prompt="a b"), Options())
    spec = Options(probe="mine")
    with pytest.raises(InputError, match="option probe: unknown probe 'yours': valid: mine"):
        check_used(Options(probe="yours"), bench.workspace)
    first = compute(
        bench.store, ANALYSIS, tiny, Inputs(prompt="a b"), spec, used=loaded(spec, bench.workspace, bench.model)
    )
    assert first.frames["one"]["used"][0] == 3.0
    assert first.inputs["used"]["probe"]["kind"] == "probe"
    # That run kept "mine" anew, with another maker in its meta: another revision, so another key.
    second = compute(
        bench.store, ANALYSIS, tiny, Inputs(prompt="a b"), spec, used=loaded(spec, bench.workspace, bench.model)
    )
    assert second.key != first.key


def test_a_fresh_run_keeps_nothing(bench: Workbench, tiny: Model) -> None:
    compute(bench.store, ANALYSIS, tiny, Inputs(prompt="c d"), Options(), fresh=True)
    assert bench.artifacts().empty


class Interrupted(Exception):
    """What stops the run below for the first time."""


def test_what_a_stopped_run_remembered_is_there_when_it_goes_on(bench: Workbench, tiny: Model) -> None:
    """And is gone when the run is done; another run of other inputs sees nothing of it."""
    met: list[float | None] = []

    def run(_model: Model, _inputs: Inputs, _spec: Options, context: Context) -> Frames:
        context.progress(0.0, "begun")
        kept = context.recall("training")
        met.append(None if kept is None else float(kept["step"]))
        if kept is None:
            context.remember("training", {"step": torch.tensor(7.0)})
            raise Interrupted
        return {"one": pd.DataFrame({"name": ["x"], "used": [float(kept["step"])]})}

    stopping = replace(ANALYSIS, run=run)
    for text in ("a b", "c d"):
        with pytest.raises(Interrupted):
            compute(bench.store, stopping, tiny, Inputs(prompt=text), Options())
    done = compute(bench.store, stopping, tiny, Inputs(prompt="a b"), Options())
    assert done.frames["one"]["used"].tolist() == [7.0]
    assert met == [None, None, 7.0]
    assert [path.name == done.key for path in (bench.workspace / "running").iterdir()] == [False]


def test_an_artifact_of_another_kind_is_not_replaced(bench: Workbench) -> None:
    for value in (1.0, 2.0):
        save_artifact(bench.workspace, "mine", "dictionary", {"w": torch.full((2,), value)}, {})
    with pytest.raises(InputError, match="artifact 'mine' is a dictionary, which a labels does not replace"):
        save_artifact(bench.workspace, "mine", "labels", {"w": torch.zeros(1)}, {})
    assert load_artifact(bench.workspace, "mine", "dictionary").tensors["w"].tolist() == [2.0, 2.0]
