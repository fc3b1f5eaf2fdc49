"""Tensors of a running run: whole or absent, replaced, dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.run_state import drop_state, load_state, save_state
from hooks.errors import InputError


def test_kept_replaced_and_dropped(tmp_path: Path) -> None:
    assert load_state(tmp_path, "k", "training") is None
    for value in (1.0, 2.0):
        save_state(tmp_path, "k", "training", {"x": torch.full((2, 3), value).T})
    save_state(tmp_path, "other", "training", {"x": torch.zeros(1)})
    found = load_state(tmp_path, "k", "training")
    assert found is not None
    assert torch.equal(found["x"], torch.full((3, 2), 2.0))
    drop_state(tmp_path, "k")
    assert load_state(tmp_path, "k", "training") is None
    assert load_state(tmp_path, "other", "training") is not None


def test_a_damaged_one_is_told(tmp_path: Path) -> None:
    save_state(tmp_path, "k", "training", {"x": torch.zeros(100)})
    (path,) = (tmp_path / "running" / "k").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="where the interrupted run stood, is damaged"):
        load_state(tmp_path, "k", "training")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("in the way")
    with pytest.raises(InputError, match="cannot be kept"):
        save_state(tmp_path, "k", "training", {"x": torch.zeros(1)})
