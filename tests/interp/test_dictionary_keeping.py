"""A dictionary is replaced only on purpose, a taken name is refused before any work, a lost training is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from analyses._contract import Inputs
from analyses._registry import get
from data.artifacts import list_artifacts, load_artifact, save_artifact
from hooks.errors import Cancelled, InputError
from hooks.model import Model
from interp.runs import Run, compute
from interp.workbench import Workbench

OPTIONS = {"latents": 24, "active": 3, "drawn": 200, "length": 8, "steps": 4, "batch": 32, "points": 2}


def train(bench: Workbench, model: Model, progress: Any = None, **options: Any) -> Run:
    analysis = get("train_dictionary")
    spec = analysis.spec(**{**OPTIONS, "keep_as": "mine", **options})
    return compute(bench.store, analysis, model, Inputs(prompt="x"), spec, progress=progress or (lambda *_: None))


def never(_fraction: float, words: str) -> None:
    raise AssertionError(words)


def test_another_run_replaces_a_dictionary_only_when_told(bench: Workbench, tiny: Model) -> None:
    first = train(bench, tiny)
    kept = load_artifact(bench.workspace, "mine", "dictionary")
    with pytest.raises(InputError, match=f"a dictionary 'mine', kept by run {first.key}, is there already: .*replace"):
        train(bench, tiny, never, steps=5)
    assert load_artifact(bench.workspace, "mine").revision == kept.revision
    assert train(bench, tiny, never).reused
    second = train(bench, tiny, steps=5, replace=True)
    assert load_artifact(bench.workspace, "mine").meta["run"] == second.key
    # the run that made it may make it again, without being told
    bench.store.delete_run(second.key)
    assert not train(bench, tiny, steps=5, replace=True).reused


def test_a_name_of_another_kind_is_refused_before_any_work(bench: Workbench, tiny: Model) -> None:
    save_artifact(bench.workspace, "mine", "probe", {"w": torch.ones(2)}, {})
    save_artifact(bench.workspace, "yours.text", "labels", {"w": torch.ones(2)}, {})
    with pytest.raises(InputError, match="'mine' is a probe, which a dictionary does not replace"):
        train(bench, tiny, never, replace=True)
    with pytest.raises(InputError, match=r"'yours.text' is a labels, which a text does not replace"):
        train(bench, tiny, never, keep_as="yours")


def test_cross_layer_sets_kept_under_their_older_kind_are_still_read(bench: Workbench) -> None:
    save_artifact(bench.workspace, "clt", "dictionary", {"w": torch.ones(2)}, {"layers": [1]})
    path = bench.workspace / "artifacts" / "clt" / "artifact.json"
    path.write_text(path.read_text().replace('"dictionary"', '"cross-layer transcoder"'))
    assert load_artifact(bench.workspace, "clt", "dictionary").kind == "dictionary"
    assert list(list_artifacts(bench.workspace, "dictionary")["name"]) == ["clt"]


def test_a_damaged_state_is_told_and_begun_again(bench: Workbench, tiny: Model) -> None:
    def stop(_fraction: float, words: str) -> None:
        if "step 2" in words:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(bench, tiny, stop)
    (path,) = (bench.workspace / "running").glob("*/text.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    said: list[str] = []
    assert len(train(bench, tiny, lambda _fraction, words: said.append(words)).frames["curve"]) == 3
    assert sum("begun again" in one and str(path) in one for one in said) >= 4
