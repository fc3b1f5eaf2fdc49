"""The public API: one object that loads models, runs analyses and opens what was run before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd

from analyses._contract import Inputs, Spec
from analyses._registry import get
from data.artifacts import list_artifacts
from data.store import Store
from data.workspace import default_workspace
from hooks.load import load
from hooks.model import Model, ModelIdentity
from hooks.progress import Progress, silent
from hooks.trust import examine
from interp.inputs import Request
from interp.runs import Run, compute, read_spec, reopen
from interp.using import One, check_used, loaded
from interp.watch import Show, unseen

DEFAULT_MODEL = "smollm2-135m"
MOST_MODELS = 3
"""Models that a workbench holds on to; of a series of checkpoints the earlier ones are let go."""


class Workbench:
    """Everything that a page or a command does, for scripts.

    Args:
        workspace: folder for models, captures and results; by default $INTERP_WORKSPACE or ./workspace.
    """

    def __init__(self, workspace: Path | str | None = None) -> None:
        self.workspace = Path(workspace) if workspace is not None else default_workspace()
        self.store = Store(self.workspace)
        self._models: dict[tuple[str, str, str], Model] = {}
        self._checks: dict[tuple[ModelIdentity, str], dict[str, dict[str, Any]]] = {}
        self._order = threading.Lock()

    def model(
        self, spec: str = DEFAULT_MODEL, *, dtype: str = "float32", device: str = "cpu", progress: Progress = silent
    ) -> Model:
        """Load a model, or hand out the one already loaded; the last `MOST_MODELS` are kept."""
        key = (spec, dtype, device)
        found = self._models.get(key) or load(spec, self.workspace, dtype=dtype, device=device, progress=progress)
        with self._order:
            self._models.pop(key, None)
            self._models[key] = found
            for oldest in list(self._models)[:-MOST_MODELS]:
                del self._models[oldest]
        return found

    def checks(self, model: Model, progress: Progress = silent) -> dict[str, dict[str, Any]]:
        """The trust checks of a loaded model, by name, each {status, value, unit, detail}; examined once per model."""
        key = (model.identity, str(model.device))
        if key not in self._checks:
            found = examine(model, self.workspace, progress)
            self._checks[key] = {c.name: {k: v for k, v in vars(c).items() if k != "name"} for c in found}
        return self._checks[key]

    def run(
        self,
        analysis: str,
        model: Model | str = DEFAULT_MODEL,
        *,
        spec: dict[str, Any] | Spec | None = None,
        progress: Progress = silent,
        **inputs: Any,
    ) -> Run:
        """Run an analysis, or answer it from the store.

        Args:
            analysis: its name.
            model: a loaded model, or what `model` takes.
            spec: options by name.
            inputs: `prompt=…`, or `clean=…, corrupted=…, answer=…, distractor=…`, or `prompt=…, answer=…, alias=[…],
                span=["ROLE=TEXT", …]`, or `set=…, limit=…, seed=…`, or `file=…`.
        """
        request, options = self.check(analysis, spec, **inputs)
        opened = self.model(model, progress=progress) if isinstance(model, str) else model
        inputs_read = request.resolve(opened, get(analysis))
        return self.run_inputs(analysis, opened, inputs_read, options, request.as_dict(), progress)

    def check(self, analysis: str, spec: dict[str, Any] | Spec | None = None, **inputs: Any) -> tuple[Request, Spec]:
        """What `run` would be asked, refused here when that can be told without loading a model. Raises InputError."""
        chosen, request = get(analysis), Request.from_dict(inputs)
        options = spec if isinstance(spec, Spec) else read_spec(chosen, spec or {})
        request.check(chosen)
        check_used(options, self.workspace)
        return request, options

    def run_inputs(
        self,
        analysis: str,
        model: Model,
        inputs: Inputs,
        spec: dict[str, Any] | Spec | None = None,
        request: dict[str, Any] | None = None,
        progress: Progress = silent,
        *,
        fresh: bool = False,
        show: Show = unseen,
    ) -> Run:
        """`run` for inputs that are already resolved.

        `fresh` computes even what is stored and keeps nothing; `show` gets the newest rows of the running run.
        """
        chosen = get(analysis)
        options = spec if isinstance(spec, Spec) else read_spec(chosen, spec or {})
        # Before the trust checks, which take longer than saying no.
        chosen.accept(inputs)
        chosen.check(model, inputs, options)
        used = self.used(model, options, progress)
        checks = dict(self.checks(model))
        for field, other in used.items():
            if isinstance(other, Model):
                checks |= {f"{field}: {name}": found for name, found in self.checks(other).items()}
        return compute(self.store, chosen, model, inputs, options, request=request, checks=checks, progress=progress,
                       fresh=fresh, used=used, show=show)  # fmt: skip

    def used(self, model: Model, spec: Spec, progress: Progress = silent) -> dict[str, One]:
        """What the options of a run on `model` name; models in its number format and place."""
        dtype, device = model.identity.dtype, str(model.device)
        return loaded(
            spec, self.workspace, lambda name: self.model(name, dtype=dtype, device=device, progress=progress)
        )

    def artifacts(self, kind: str | None = None) -> pd.DataFrame:
        """What earlier runs have left under a name: name, kind, size_mb, meta."""
        return list_artifacts(self.workspace, kind)

    def reopen(self, run: str, **display: Any) -> Run:
        """Open a stored run without computing; keyword arguments change what its figures show."""
        return reopen(self.store, run, display)

    def runs(self) -> pd.DataFrame:
        """Every run in the workspace, newest first."""
        return self.store.list_runs()

    def sql(self, query: str, limit: int = 10_000) -> pd.DataFrame:
        """A read-only query over the store."""
        return self.store.query(query, limit=limit)
