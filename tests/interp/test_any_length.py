"""Files for analyses that read texts in pieces: a text may be longer than the model reads at once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analyses._registry import get
from hooks.errors import InputError
from hooks.model import Model
from interp.inputs import Request


def test_a_long_text_resolves_for_those_that_read_pieces(tmp_path: Path, tiny: Model) -> None:
    path = tmp_path / "book.txt"
    path.write_text("the red book " * 500 + "\nMary went to the park\n")
    request = Request(file=str(path))
    assert [len(text) > 1000 for text in request.resolve(tiny, get("train_dictionary")).texts] == [True, False]
    assert len(request.resolve(tiny, get("attention_sinks")).texts) == 1, "the long one is refused, and that is told"
    path.write_text("the red book " * 500)
    with pytest.raises(InputError, match="reads at most"):
        request.resolve(tiny, get("attention_sinks"))


def test_texts_of_a_parquet_file(tmp_path: Path, tiny: Model) -> None:
    path = tmp_path / "texts.parquet"
    rows = {"text": ["the red book", "Mary went to the park"], "label": ["a", None], "source": ["x", "y"]}
    pd.DataFrame(rows).to_parquet(path)
    inputs = Request(file=str(path)).resolve(tiny, get("attention_sinks"))
    assert inputs.texts == ("the red book", "Mary went to the park")
    assert inputs.labels == ("a", "")
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Request(file=str(path)).resolve(tiny, get("attention_sinks"))
    pd.DataFrame({"text": ["x"], "when": [pd.Timestamp("2020-01-01")]}).to_parquet(path)
    with pytest.raises(InputError, match="row 1 holds what JSON has no word for"):
        Request(file=str(path)).resolve(tiny, get("attention_sinks"))
