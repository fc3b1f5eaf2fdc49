"""A batch whose later runs use what earlier ones keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.capture_admin import delete_capture
from data.captures import CaptureWriter
from hooks.errors import InputError
from hooks.model import Model
from hooks.plan import CapturePlan
from hooks.progress import silent
from hooks.sites import Site
from interp.batch import check_models, read_batch, run_batch
from interp.workbench import Workbench

TRAIN = """
models: [toy:random]
inputs: [{prompt: the red book}]
analyses:
  - analysis: train_dictionary
    spec: {latents: 24, active: 3, drawn: 200, length: 8, steps: 4, batch: 32, points: 2, keep_as: small}
"""
AGAIN = """  - analysis: train_dictionary
    spec: {text: small.text, latents: 16, active: 2, length: 8, steps: 3, batch: 32}
"""


def test_what_an_earlier_run_keeps_may_be_named(tmp_path: Path, bench: Workbench) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(TRAIN + AGAIN)
    table = run_batch(bench, read_batch(path), silent)
    assert table["status"].tolist() == ["done", "done"], table["error"].tolist()
    assert set(bench.artifacts("dictionary")["name"]) == {"small"}


def test_but_not_before_it_is_kept(tmp_path: Path, bench: Workbench) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(TRAIN.replace("analyses:\n", "analyses:\n" + AGAIN))
    with pytest.raises(InputError, match=r"option text: unknown text 'small\.text'"):
        check_models(read_batch(path), bench.workspace)


def test_a_capture_is_trained_on(tmp_path: Path, bench: Workbench, tiny: Model) -> None:
    """The same rows as from the text itself; a changed capture under the same name is another run."""
    texts = ["the red book is on the table", "Mary went to the park with John", "the house of the man is red"]
    ids = {index: tiny.encode(text) for index, text in enumerate(texts)}
    plan = CapturePlan((Site(1, "resid_post"),))
    spec = {"capture": "cap", "layers": [1], "latents": 5, "active": 2, "steps": 3, "batch": 8, "points": 2,
            "held_out": 0.3}  # fmt: skip
    keys = []
    for chosen in ({0: ids[0], 1: ids[1], 2: ids[2]}, {0: ids[0], 1: ids[1]}):
        with CaptureWriter(bench.store, "cap", tiny.identity.as_dict(), plan.as_dict()) as writer:
            for one in plan.run(tiny, chosen):
                writer.add(one.index, texts[one.index], list(one.token_ids), tiny.str_tokens(one.token_ids),
                           {(site.layer, site.name): value for site, value in one.activations.items()})  # fmt: skip
        done = bench.run("train_dictionary", tiny, spec=spec, prompt="unused")
        keys.append(done.key)
        trained = sum(len(one) - 1 for one in chosen.values())
        assert done.frames["summary"][["trained", "held"]].sum(axis=1).tolist() == [trained]
        delete_capture(bench.store, "cap")
    assert len(set(keys)) == 2
    with pytest.raises(InputError, match="unknown capture"):
        bench.run("train_dictionary", tiny, spec=spec, prompt="unused")
