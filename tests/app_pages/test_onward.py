"""Links from a result to other analyses: the model goes along, the input where the other can read it."""

from __future__ import annotations

from typing import Any

import pytest

from analyses._registry import get
from app_pages._onward import carried
from interp.runs import Run

MODEL = {"spec": "toy:random", "dtype": "float32", "name": "toy"}


def run_of(name: str, inputs: dict[str, Any]) -> Run:
    analysis = get(name)
    return Run("key", analysis, MODEL, inputs, analysis.spec(), {}, {}, 0.1, "2026-11-21T00:00:00+00:00")


@pytest.mark.parametrize(
    ("name", "inputs", "other", "expected"),
    [
        ("head_atlas", {"prompt": "A b", "request": {"prompt": "A b"}}, "attention_knockout", {"prompt": "A b"}),
        ("head_atlas", {"texts": ["A b"], "request": {"set": "domains", "limit": 3}}, "attention_knockout", {}),
        ("head_atlas", {"texts": ["A b"], "request": {"set": "domains", "limit": 3}}, "attention_sinks",
         {"set": "domains", "limit": "3"}),
        ("lookback", {"tasks": [{}], "request": {"prompt": "A b", "answer": "c", "alias": ["d"], "span": []}},
         "attention_knockout", {"prompt": "A b", "answer": "c", "alias": ["d"]}),
        ("token_attribution", {"pairs": [{}], "request": {"clean": "A"}}, "activation_patching", {"clean": "A"}),
    ],
)  # fmt: skip
def test_what_goes_along(name: str, inputs: dict[str, Any], other: str, expected: dict[str, Any]) -> None:
    assert carried(run_of(name, inputs), get(other)) == {"model": "toy:random", "dtype": "float32", **expected}
