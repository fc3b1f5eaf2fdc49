"""Stores and run records for the tests of the data floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.store import RunRecord, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in an empty workspace that gives up on locks after two seconds."""
    return Store(tmp_path / "workspace", patience=2)


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RunRecord]:
    """A finished run of the analysis `probe`; any field can be given."""

    def make(key: str = "k1", **changes: Any) -> RunRecord:
        fields: dict[str, Any] = {
            "key": key,
            "analysis": "probe",
            "version": 1,
            "model": {"name": "tiny", "source": "toy:random", "revision": "0123", "dtype": "float32"},
            "inputs": {"prompt": "Ünïcode\nand a second line", "token_ids": [1, 2, 3]},
            "spec": {"layers": [0, 1], "scale": 0.1},
            "checks": {"parity": {"max_difference": 1e-7, "passed": True}},
            "status": "done",
            "error": "",
            "seconds": 1.25,
            "created": "2026-01-02T03:04:05+00:00",
        }
        return RunRecord(**{**fields, **changes})

    return make
