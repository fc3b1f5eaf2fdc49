"""What a running analysis is given, and whether it has begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses._contract import Context
from data.artifacts import save_artifact
from data.run_state import load_state, save_state
from data.store import Store
from hooks.checkpoints.building import Maker, build
from hooks.errors import InputError
from hooks.progress import Progress, silent
from interp.using import Used

if TYPE_CHECKING:
    from torch import Tensor

Show = Callable[[str, pd.DataFrame], None]
"""Gets the newest rows of a running run, by name."""


def unseen(_name: str, _frame: pd.DataFrame) -> None:
    """Nobody watches."""


class Watch:
    """Tells a run that has begun from input that was refused before anything was computed, which is no run.

    Without a store nothing is kept: no parts, artifacts or checkpoints.
    """

    def __init__(
        self, progress: Progress, store: Store | None, analysis: str, key: str, used: Used, show: Show = unseen
    ) -> None:
        self.begun = False
        self._progress, self._store, self._show = progress, store, show
        self._analysis, self._key, self._used = analysis, key, used
        self._lost = ""

    @property
    def context(self) -> Context:
        """What the analysis is given."""
        return Context(
            self._report, self._part, self._used.__getitem__, self._keep, self._keep_model, self._show,
            self._recall, self._remember,
        )  # fmt: skip

    def _report(self, fraction: float, label: str) -> None:
        self.begun = True
        self._progress(fraction, label + self._lost)

    def _part(self, part: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        self.begun = True
        if self._store is None:
            return make()
        kept = self._store.load_part(self._key, part)
        if kept is None:
            kept = make()
            self._store.save_part(self._key, part, kept)
        return kept

    def _keep(self, name: str, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        if self._store is not None:
            save_artifact(self._store.workspace, name, kind, tensors, dict(meta) | {"run": self._key})

    def _keep_model(self, name: str, make: Maker) -> str:
        # The key in the name: other settings leave another checkpoint, and an old one is never answered in its place.
        spec = f"{self._analysis.replace('_', '-')}-{self._key[:8]}-{name}"
        if self._store is not None:
            build(self._store.workspace, spec, make, silent)
        return spec

    def _recall(self, name: str) -> dict[str, Tensor] | None:
        if self._store is None:
            return None
        try:
            return load_state(self._store.workspace, self._key, name)
        except InputError as error:
            # said beside every later progress, for the run itself goes on, from its beginning
            self._lost = f" (begun again: {error})"
            return None

    def _remember(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        self.begun = True
        if self._store is not None:
            save_state(self._store.workspace, self._key, name, tensors)
