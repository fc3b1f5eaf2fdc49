"""Trust checks: each passes on a sound model and fails on one that is broken in just that way."""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hooks.errors import Cancelled
from hooks.load import load
from hooks.model import Model
from hooks.trust import Check, doubled_bos, examine, log_prob_gap

NAMES = [
    "hugging_face_parity",
    "bridge_parity",
    "padding_invariance",
    "doubled_bos",
    "dtype_drift",
    "quantisation",
    "weight_processing",
]
COMPARISONS = NAMES[:3]


@pytest.fixture
def fresh(models_folder: Path) -> Model:
    """A model of the test's own, to be broken."""
    return load("toy:random", models_folder)


def by_name(model: Model, folder: Path) -> dict[str, Check]:
    return {check.name: check for check in examine(model, folder)}


def test_a_sound_model_passes(any_tiny: Model, models_folder: Path) -> None:
    checks = by_name(any_tiny, models_folder)
    assert list(checks) == NAMES
    assert [checks[name].status for name in NAMES] == ["pass"] * 5 + ["note"] * 2
    for name in COMPARISONS:
        assert checks[name].unit == "nats"
        assert 0 <= (checks[name].value or 0) <= 1e-4
    assert "float32" in checks["dtype_drift"].detail
    assert all(check.detail.endswith(".") and "\n" not in check.detail for check in checks.values())


def test_weights_that_are_not_the_checkpoints_fail(fresh: Model, models_folder: Path) -> None:
    with torch.no_grad():
        fresh.W_O(1).mul_(1.5)
    check = by_name(fresh, models_folder)["hugging_face_parity"]
    assert (check.status, (check.value or 0) > 1e-2) == ("fail", True)


def test_a_bridge_with_other_weights_fails(fresh: Model, models_folder: Path) -> None:
    assert fresh.bridge is not None
    head: Any = fresh.module.get_output_embeddings()  # type: ignore[operator]
    head.weight = nn.Parameter(head.weight.detach() * 1.1)
    assert by_name(fresh, models_folder)["bridge_parity"].status == "fail"


def test_a_model_that_looks_at_padding_fails(fresh: Model, models_folder: Path) -> None:
    def see_all(module: nn.Module, inputs: Any, named: dict[str, Any]) -> Any:
        mask = named.get("attention_mask")
        return inputs, named if mask is None else {**named, "attention_mask": torch.ones_like(mask)}

    fresh.module.register_forward_pre_hook(see_all, with_kwargs=True)
    checks = by_name(fresh, models_folder)
    assert checks["padding_invariance"].status == "fail"
    assert checks["hugging_face_parity"].status == "pass"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_never_passes(models_folder: Path, dtype: str) -> None:
    model = load("toy:random", models_folder, dtype=dtype)
    with torch.no_grad():
        model.W_O(0)[0, 0, 0] = float("nan")
    checks = by_name(model, models_folder)
    failing = COMPARISONS if dtype == "float32" else [*COMPARISONS, "dtype_drift"]
    assert {name: checks[name].status for name in failing} == dict.fromkeys(failing, "fail")


def test_rounded_weights_say_how_far_they_drift(models_folder: Path) -> None:
    checks = by_name(load("toy:random", models_folder, dtype="bfloat16"), models_folder)
    drift = checks["dtype_drift"]
    assert drift.value is not None
    assert 1e-4 < drift.value < 10
    assert "% of positions" in drift.detail
    assert [checks[name].status for name in COMPARISONS] == ["pass"] * 3


def test_drift_that_changes_the_answers_fails(models_folder: Path) -> None:
    model = load("toy:random", models_folder, dtype="bfloat16")
    with torch.no_grad():
        for layer in range(model.geometry.n_layers):
            model.W_out(layer).mul_(-3)
    assert by_name(model, models_folder)["dtype_drift"].status == "fail"


def test_what_is_in_force_is_named(fresh: Model, models_folder: Path) -> None:
    identity = replace(fresh.identity, quantisation="Q4_1, de-quantised", processing="norms folded in")
    checks = by_name(Model(fresh.module, fresh.tokenizer, identity, fresh.folder), models_folder)
    assert "Q4_1" in checks["quantisation"].detail
    assert "norms folded in" in checks["weight_processing"].detail


def test_a_check_that_cannot_run_fails_and_takes_no_other_with_it(fresh: Model, tmp_path: Path) -> None:
    lost = Model(fresh.module, fresh.tokenizer, fresh.identity, tmp_path / "gone")
    checks = by_name(lost, tmp_path)
    assert checks["hugging_face_parity"].status == "fail"
    assert "could not be carried out" in checks["hugging_face_parity"].detail
    assert checks["bridge_parity"].status == "pass"


def test_a_model_without_a_folder_is_looked_up_by_its_spec(fresh: Model, models_folder: Path) -> None:
    found = Model(fresh.module, fresh.tokenizer, fresh.identity)
    assert by_name(found, models_folder)["hugging_face_parity"].status == "pass"


def with_bos(model: Model, *, adds: bool) -> Model:
    """The same model with a tokenizer that has a BOS and may put one before everything, asked for or not."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>"])
    if adds:
        backend.post_processor = processors.TemplateProcessing(
            "<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", pad_token="<s>")
    return Model(model.module, tokenizer, model.identity, model.folder)


def test_a_tokenizer_that_adds_bos_is_noted(tiny: Model, models_folder: Path) -> None:
    adding, plain = with_bos(tiny, adds=True), with_bos(tiny, adds=False)
    check = by_name(adding, models_folder)["doubled_bos"]
    assert (check.status, check.value) == ("note", 1.0)
    assert "<s>" in check.detail
    assert by_name(plain, models_folder)["doubled_bos"].status == "pass"


def test_a_prompt_that_starts_with_two_bos_is_seen(tiny: Model) -> None:
    model = with_bos(tiny, adds=True)
    assert doubled_bos(model, model.encode("<s><s>When John"))
    assert not doubled_bos(model, model.encode("<s>When John"))
    assert not doubled_bos(model, model.encode("When <s><s>"))
    assert doubled_bos(model, model.tokenizer("<s>When John")["input_ids"])
    assert not doubled_bos(model, model.encode("<s>"))
    assert not doubled_bos(tiny, [0, 0, 0])


def test_the_second_copy_is_freed(fresh: Model, models_folder: Path) -> None:
    def held() -> int:
        gc.collect()
        tensors = [o for o in gc.get_objects() if type(o) is nn.Parameter and not o.is_meta]
        return sum(size for _, size in {(t.data_ptr(), t.numel()) for t in tensors})

    examine(fresh, models_folder)
    before = held()
    examine(fresh, models_folder)
    assert held() == before


def test_progress_names_each_check_and_may_cancel(fresh: Model, models_folder: Path) -> None:
    said: list[str] = []
    examine(fresh, models_folder, lambda fraction, label: said.append(label))
    assert said == [f"checking {name.replace('_', ' ')}" for name in NAMES] + ["checked"]

    def stop(fraction: float, label: str) -> None:
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        examine(fresh, models_folder, stop)


def test_log_prob_gap_by_hand() -> None:
    flat, tilted = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    assert log_prob_gap(flat, flat + 5.0) == 0.0
    assert log_prob_gap(flat, tilted) == pytest.approx(math.log(1 + math.e) - math.log(2))
    assert math.isnan(log_prob_gap(flat, torch.tensor([[float("nan"), 0.0]])))


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_default_model_can_be_trusted(real: Model, tmp_path: Path, dtype: str) -> None:
    model = real if dtype == "float32" else load(str(real.folder), tmp_path, dtype=dtype)
    checks = by_name(model, tmp_path)
    drift = "pass" if dtype == "float32" else "note"
    assert [checks[name].status for name in NAMES] == ["pass"] * 4 + [drift] + ["note"] * 2
    if dtype == "float32":
        assert "Q4_1" in checks["quantisation"].detail
