"""One run: computed once per key, kept in the store, opened again without computing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from pydantic import ValidationError

from analyses._contract import Analysis, ContractError, Frames, Inputs, Spec
from analyses._registry import get
from data.artifacts import refuse_taken
from data.run_state import drop_state
from data.store import RunRecord, Store
from hooks.errors import Cancelled, InputError, said, unknown
from hooks.progress import Progress, silent
from interp.export import export_figure, export_frames
from interp.finding import find
from interp.keys import run_key
from interp.plain_rows import records
from interp.recipe import build_recipe
from interp.script import command_line
from interp.using import Used, identity
from interp.version import VERSION
from interp.watch import Show, Watch, unseen

if TYPE_CHECKING:
    from hooks.model import Model

__all__ = ["Run", "compute", "find", "read_spec", "records", "reopen"]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run. `reused` says that it was answered from the store; `seconds` is what computing it took."""

    key: str
    analysis: Analysis
    model: dict[str, str]
    inputs: dict[str, Any]
    spec: Spec
    checks: dict[str, dict[str, Any]]
    frames: Frames
    seconds: float
    created: str
    reused: bool = False

    def figures(self) -> dict[str, go.Figure]:
        """The analysis' figures by name, drawn from the frames."""
        return self.analysis.figures(self.frames, self.spec)

    def figure(self, name: str | None = None) -> tuple[str, go.Figure]:
        """One figure with its name; the first when none is named. Raises InputError offering the others."""
        figures = self.figures()
        chosen = next(iter(figures)) if name is None else name
        if chosen not in figures:
            raise unknown(f"figure of {self.analysis.name}", chosen, figures)
        return chosen, figures[chosen]

    def recipe(self, figure: str) -> dict[str, Any]:
        """Everything needed to make this figure again and to tell whether it came out the same."""
        return build_recipe(
            workbench=VERSION,
            analysis=self.analysis.name,
            analysis_version=self.analysis.version,
            figure=figure,
            model=self.model,
            inputs=self.inputs,
            spec=self.spec.model_dump(mode="json"),
            checks=self.checks,
            run=self.key,
            command=command_line(self.analysis.name, self.model, self.inputs, self.spec),
            frames=self.frames,
            created=self.created,
        )

    def export(self, path: Path, figure: str | None = None, width: Any = "two-column") -> list[Path]:
        """Write one figure (SVG, PDF, PNG, HTML) or the frames (CSV, Parquet) with the recipe inside."""
        if path.suffix.lower() in (".csv", ".parquet"):
            return export_frames(self.frames, path, self.recipe(figure or ""))
        name, drawn = self.figure(figure)
        return [export_figure(drawn, path, self.recipe(name), self.frames, width=width)]

    def as_json(self) -> dict[str, Any]:
        """The object that `interp run --json` prints; NaN becomes null."""
        frames = {name: records(frame) for name, frame in self.frames.items()}
        spec = self.spec.model_dump(mode="json")
        return {"run": self.key, "analysis": self.analysis.name, "model": self.model, "spec": spec,
                "checks": self.checks, "frames": frames, "seconds": self.seconds}  # fmt: skip


def read_spec(analysis: Analysis, given: dict[str, Any]) -> Spec:
    """Validate options against the analysis' spec. Raises InputError naming option, value and what is valid."""
    try:
        return analysis.spec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "spec"
        if first["type"] == "extra_forbidden":
            raise unknown(f"option of {analysis.name}", name, analysis.spec.model_fields) from None
        raise InputError(f"option {name} = {first['input']!r}: {first['msg']}") from None


def compute(
    store: Store,
    analysis: Analysis,
    model: Model,
    inputs: Inputs,
    spec: Spec,
    *,
    request: dict[str, Any] | None = None,
    checks: dict[str, dict[str, Any]] | None = None,
    progress: Progress = silent,
    fresh: bool = False,
    used: Used = MappingProxyType({}),
    show: Show = unseen,
) -> Run:
    """Answer a run from the store, or compute and keep it; parts finished before an interruption are not repeated.

    Input that is refused before the analysis has begun leaves nothing behind; what fails later is remembered with its
    error. `fresh` computes even what is stored, without reading or writing the store. `used` is what the spec
    names, by option; `show` gets the newest rows of the running run.

    Raises:
        InputError: inputs that the analysis refuses, or a name to keep an artifact under that is taken.
        ContractError: the frames are not those that the analysis declares; they are kept as parts of the failed run.
    """
    analysis.accept(inputs)
    analysis.check(model, inputs, spec)
    key = run_key(analysis, model, inputs, spec, used)
    if not fresh and (found := _stored(store, key, spec)):
        return found
    if not fresh:
        refuse_taken(store.workspace, key, spec.claims())
    started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    told = inputs.as_dict() | {"request": request or {}}
    told |= {"used": {name: identity(other) for name, other in used.items()}} if used else {}
    record = RunRecord(key, analysis.name, analysis.version, model.identity.as_dict(), told,
                       spec.model_dump(mode="json"), checks or {}, "done", "", 0.0, created)  # fmt: skip
    watch = Watch(progress, None if fresh else store, analysis.name, key, used, show)
    try:
        frames = analysis.run(model, inputs, spec, watch.context)
        _conform(None if fresh else store, key, analysis, frames)
    except (Exception, KeyboardInterrupt) as error:
        if not fresh and (watch.begun or not isinstance(error, InputError)):
            _remember_failure(store, record, error, time.perf_counter() - started)
        raise
    seconds = time.perf_counter() - started
    if not fresh:
        store.save_run(RunRecord(**vars(record) | {"seconds": seconds}), frames)
        drop_state(store.workspace, key)
    return Run(key, analysis, record.model, told, spec, record.checks, frames, seconds, created)


def reopen(store: Store, key: str, display: dict[str, Any] | None = None) -> Run:
    """Open a finished run by key or unambiguous beginning of one; `display` overrides what its figures show."""
    record = find(store, key)
    if record.status != "done":
        raise InputError(f"run {record.key} is {record.status}: {record.error or 'no result was kept'}; run it again")
    analysis = get(record.analysis)
    spec = read_spec(analysis, record.spec | (display or {}))
    return Run(record.key, analysis, record.model, record.inputs, spec, record.checks, store.load_frames(record.key),
               record.seconds, record.created, reused=True)  # fmt: skip


def _conform(store: Store | None, key: str, analysis: Analysis, frames: Frames) -> None:
    """Check the frames; what was computed is kept even when its author declared something else."""
    try:
        analysis.conform(frames)
    except ContractError as error:
        if store is None:
            raise
        for name, frame in frames.items():
            store.save_part(key, f"returned {name}", frame)
        raise ContractError(f"{error}; what it returned is kept: Store.load_part({key!r}, 'returned FRAME')") from None


def _stored(store: Store, key: str, spec: Spec) -> Run | None:
    record = store.find_run(key)
    if record is None or record.status != "done":
        return None
    return reopen(store, key, {k: v for k, v in spec.model_dump(mode="json").items() if k in spec.display_fields()})


def _remember_failure(store: Store, record: RunRecord, error: BaseException, seconds: float) -> None:
    stopped = isinstance(error, Cancelled | KeyboardInterrupt)
    status = {"status": "cancelled" if stopped else "failed", "error": said(error)}
    store.save_run(RunRecord(**vars(record) | status | {"seconds": seconds}), {})
