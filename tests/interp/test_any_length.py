"""Files for analyses that read texts in pieces: a text may be longer than the model reads at once."""

from __future__ import annotations

from pathlib import Path

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
