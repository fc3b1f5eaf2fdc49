"""The benchmark refuses to time a version that is wrong, in any of its statistics."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from kernels.attention_stats import AttentionStats, attention_stats, bench, naive

SMALL = {"checked_at": 40, "repeats": 1, "heads": 2, "kv_heads": 1, "d_head": 16}
STATISTICS = [field.name for field in dataclasses.fields(AttentionStats) if field.name != "backend"]


def test_reports_json() -> None:
    report = json.loads(json.dumps(bench.bench(60, **SMALL)))
    assert report["versions"].keys() >= {"sdpa", "streamed"}
    assert all(version["seconds"] > 0 and version["ratio"] > 0 for version in report["versions"].values())
    assert report["pattern_bytes"] == 2 * 60 * 60 * 4


def test_pieces() -> None:
    found = bench.pieces(60, repeats=1, heads=2, kv_heads=1)
    assert found.keys() >= {"checks", "nothing", "spans", "recency", "top_k", "forgetting", "everything"}
    assert all(seconds > 0 for seconds in found.values())


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "key_mass"])
def test_times_nothing_that_is_wrong(name: str) -> None:
    def wrong(asked) -> AttentionStats:
        right = naive.attention_stats(asked)
        return dataclasses.replace(right, **{name: getattr(right, name) + 1})

    with pytest.raises(ValueError, match=f"'off' is not timed.*{name}"):
        bench.bench(60, **SMALL, versions={"off": wrong})


@pytest.mark.parametrize("name", STATISTICS)
def test_one_wrong_number_or_nan_is_a_disagreement(name: str) -> None:
    inputs = bench.problem(9, heads=2, kv_heads=1, d_head=4)
    right = attention_stats(**inputs, **bench.everything(9, 2), forgetting=0.9, backend="naive")
    assert bench.disagreement(right, right) == ""
    off = getattr(right, name).clone()
    off.flatten()[-1] += 1
    assert name in bench.disagreement(dataclasses.replace(right, **{name: off}), right)
    assert name in bench.disagreement(dataclasses.replace(right, **{name: off[..., :0]}), right)
    if off.is_floating_point():
        off.flatten()[-1] = float("nan")
        broken = dataclasses.replace(right, **{name: off})
        assert name in bench.disagreement(broken, right)
        assert name in bench.disagreement(broken, broken)


def test_exact_problems_are_exact() -> None:
    """Scores of the exact problem are the same in fp64, and many of them are equal."""
    inputs = bench.problem(50, d_head=16, heads=1, kv_heads=1)
    scores = inputs["q"] @ inputs["k"].mT
    assert torch.equal(scores.double(), inputs["q"].double() @ inputs["k"].double().mT)
    assert len(scores.unique()) < scores.numel() / 2
