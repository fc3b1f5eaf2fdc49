"""The table of runs: rows that fit, an ellipsis where a text is cut, errors only where there are any."""

from __future__ import annotations

import json

import pandas as pd

from app_pages.runs import _columns, _table

INNER_PX = 1086 - 34
"""The width of the page's column in a window of 1440 pixels, less the boxes to tick."""


def _listed(error: str | None) -> pd.DataFrame:
    prompt = "When John and Mary went to the store in the middle of the old town, John gave a drink to"
    row = {"analysis": "attention_statistics", "key": "ab" * 12, "status": "failed" if error else "done"}
    row |= {"inputs": json.dumps({"prompt": prompt}), "model": "a-model-with-a-long-name", "seconds": 1.0}
    return pd.DataFrame([row | {"created": "2026-01-02T03:04:05+00:00", "error": error}])


def test_texts_that_are_cut_end_in_an_ellipsis() -> None:
    row = _table(_listed("InputError: layer 30 does not exist: valid layers are 0 to 29")).iloc[0]
    assert row["inputs"].endswith("…")
    assert row["error"] == "InputError: layer 30 does…"
    assert row["model"].endswith("…")
    assert row["run"] == "abababab"


def test_no_error_no_column_and_more_room_for_inputs() -> None:
    clean, wrong = _table(_listed(None)), _table(_listed("x"))
    assert "error" not in clean
    assert len(clean["inputs"][0]) > len(wrong["inputs"][0])


def test_all_columns_fit_the_page() -> None:
    for wrong in (False, True):
        table = _table(_listed("x" if wrong else None))
        widths = {name: column["width"] for name, column in _columns(wrong).items() if name in table}
        assert set(widths) == set(table.columns)
        assert sum(widths.values()) <= INNER_PX
