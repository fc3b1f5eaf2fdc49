"""Runs: the same content once, a changed one never from the past, interrupted ones resume, failures are remembered."""

from __future__ import annotations

from typing import Any

import pytest

from analyses import activation_patching
from analyses._contract import Inputs
from hooks.errors import Cancelled, InputError
from hooks.pairs import PromptPair
from interp.runs import read_spec
from interp.workbench import Workbench
from tests.pairs import OTHER, PAIR

BOTH = Inputs(pairs=(PAIR, OTHER))
ANALYSIS = activation_patching.ANALYSIS


def patch(bench: Workbench, inputs: Inputs = BOTH, spec: dict[str, Any] | None = None, **more: Any) -> Any:
    return bench.run_inputs("activation_patching", bench.model("toy:random"), inputs, spec, **more)


def test_same_content_is_computed_once(bench: Workbench) -> None:
    assert not patch(bench).reused
    assert patch(bench).reused


@pytest.mark.parametrize("change", ["spec", "text", "order"])
def test_changed_content_is_never_answered_from_the_past(bench: Workbench, change: str) -> None:
    before = patch(bench)
    inputs = {"text": Inputs(pairs=(PAIR,)), "order": Inputs(pairs=(OTHER, PAIR))}.get(change, BOTH)
    after = patch(bench, inputs, {"direction": "noising"} if change == "spec" else None)
    assert not after.reused
    assert after.key != before.key


def test_display_options_redraw_without_computing(bench: Workbench) -> None:
    before = patch(bench, spec={"metric": "recovery"})
    after = patch(bench, spec={"metric": "kl"})
    assert after.reused
    assert after.key == before.key
    assert after.figure()[1].to_json() != before.figure()[1].to_json()


def test_interrupted_run_goes_on_where_it_stopped(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = activation_patching.sweep_frame

    def counted(model: Any, runs: Any, *rest: Any) -> Any:
        seen.append(runs.aligned.answer_id)
        if len(seen) == 2:
            raise Cancelled("stopped in the second pair")
        return whole(model, runs, *rest)

    monkeypatch.setattr(activation_patching, "sweep_frame", counted)
    with pytest.raises(Cancelled):
        patch(bench)
    assert not patch(bench).reused
    first, second = (bench.model("toy:random").single_token(pair.answer) for pair in (PAIR, OTHER))
    assert seen == [first, second, second], "the first pair was kept, only the second is computed again"


def test_failed_run_is_remembered_with_its_error_and_can_be_run_again(bench: Workbench) -> None:
    bad = Inputs(pairs=(PromptPair(PAIR.clean, PAIR.clean, PAIR.answer, PAIR.distractor),))
    with pytest.raises(InputError):
        patch(bench, bad)
    row = bench.runs().iloc[0]
    assert row["status"] == "failed"
    assert "nothing to patch" in row["error"]
    with pytest.raises(InputError, match="failed"):
        bench.reopen(row["key"])


def test_reopened_run_equals_the_computed_one(bench: Workbench) -> None:
    done = patch(bench)
    again = bench.reopen(done.key[:6])
    assert again.recipe("resid_pre")["digests"] == done.recipe("resid_pre")["digests"]
    assert again.figure()[1].to_json() == done.figure()[1].to_json()


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("direction", "sideways", "denoising"),
        ("sites", [], "sites"),
        ("layers", ["x"], "layers"),
        ("sitse", ["z"], "sites"),
    ],
)
def test_bad_options_name_the_option_and_what_is_valid(option: str, value: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        read_spec(ANALYSIS, {option: value})


def test_wrong_frames_are_refused(bench: Workbench) -> None:
    frames = patch(bench).frames
    with pytest.raises(InputError, match="declares frame 'cells'"):
        ANALYSIS.conform({**frames, "cells": frames["cells"].drop(columns="value")})
    with pytest.raises(InputError, match="undeclared"):
        ANALYSIS.conform({**frames, "extra": frames["cells"]})
