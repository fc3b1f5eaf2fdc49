"""A context whose artifacts, states and live rows stay in memory, and rows of a frame by what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import Tensor

from analyses._contract import Context
from data.artifacts import Artifact


class Kept:
    """What a run keeps and remembers, in memory."""

    def __init__(self) -> None:
        self.artifacts: dict[str, Artifact] = {}
        self.states: dict[str, dict[str, Tensor]] = {}
        self.shown: list[tuple[str, pd.DataFrame]] = []

    def context(self, **more: Any) -> Context:
        return Context(
            keep=self._keep, recall=self.states.get, show=lambda name, frame: self.shown.append((name, frame)),
            remember=lambda name, tensors: self.states.update({name: dict(tensors)}), **more,
        )  # fmt: skip

    def _keep(self, name: str, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        self.artifacts[name] = Artifact(name, kind, dict(meta), dict(tensors), "r")

    def using(self, name: str) -> Context:
        return Context(use=lambda _field: self.artifacts[name])


def one(frame: pd.DataFrame, **keys: Any) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for name, value in keys.items():
        frame = frame[frame[name] == value]
    return frame
