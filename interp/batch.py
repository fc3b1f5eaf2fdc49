"""Batch files: models × inputs × analyses × grids of options, expanded to content-keyed runs.

models:   [smollm2-135m, {model: toy:random, dtype: float32}]
inputs:   [{set: ioi, limit: 16}, {prompt: "The capital of France is"}]
analyses:
  - analysis: activation_patching
    spec: {direction: denoising}
    grid: {sites: [[resid_pre], [mlp_out]]}
  - analysis: logit_lens
    inputs: [{prompt: "The capital of France is"}]

An entry with inputs of its own is run on those alone; the others on each of the common ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analyses._registry import get
from hooks.errors import Cancelled, InputError, reason, said
from hooks.progress import Progress
from interp.executor import Executor, InThisProcess
from interp.inputs import Request
from interp.model_names import check_model
from interp.runs import read_spec
from interp.using import check_used
from interp.workbench import Workbench


@dataclass(frozen=True)
class BatchItem:
    """One run of a batch, before its model is loaded."""

    model: str
    dtype: str
    analysis: str
    request: Request
    spec: dict[str, Any]

    def as_row(self) -> dict[str, Any]:
        """One line of the plan."""
        return {"model": self.model, "dtype": self.dtype, "analysis": self.analysis,
                "inputs": str(self.request.as_dict()), "spec": str(self.spec)}  # fmt: skip


def read_batch(file: Path) -> list[BatchItem]:
    """Read and expand a batch file; whatever can be told without a model is checked before anything runs.

    Raises:
        InputError: unreadable file, unknown keys, an empty list, unknown analyses, options that do not validate, inputs
            that are incomplete, name no set or file there is, or are not what an analysis reads.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"batch file {file} is not YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"batch file {file} cannot be read: {reason(error)}") from error
    keys = ("models", "inputs", "analyses")
    lists: dict[str, Any] = {"inputs": []} | content if isinstance(content, dict) and "analyses" in content else {}
    if set(lists) != set(keys) or not all(isinstance(lists[k], list) for k in keys):
        raise InputError(
            f"batch file {file} must be a mapping with the lists {', '.join(keys)}; see docs/guide/batch.md"
        )
    models = [_model(entry) for entry in lists["models"]]
    common, own = _requests(lists["inputs"]), [_own(_mapping(entry, "analyses")) for entry in lists["analyses"]]
    specs = [_grid(entry) for entry in lists["analyses"]]
    if empty := [key for key in keys if not lists[key] and (key != "inputs" or not own or None in own)]:
        raise InputError(f"batch file {file} asks for nothing: {' and '.join(empty)} must name at least one")
    asked = [(r, *one) for r in common for many, mine in zip(specs, own, strict=True) if mine is None for one in many]
    asked += [(r, *one) for many, mine in zip(specs, own, strict=True) for r in mine or () for one in many]
    for request, analysis, _ in asked:
        request.check(get(analysis))
    return [BatchItem(m, d, a, r, s) for (m, d), (r, a, s) in itertools.product(models, asked)]


def check_models(items: Sequence[BatchItem], workspace: Path) -> None:
    """Refuse a batch that names a model, dtype or artifact that is not there, before its first run.

    What an earlier run of the batch will keep may be named by later ones. Raises InputError.
    """
    for model, dtype in dict.fromkeys((item.model, item.dtype) for item in items):
        check_model(model, dtype, workspace)
    coming: set[str] = set()
    for item in items:
        spec = read_spec(get(item.analysis), item.spec)
        check_used(spec, workspace, coming)
        coming |= set(spec.keeps())


def run_batch(
    bench: Workbench, items: Sequence[BatchItem], progress: Progress, executor: Executor | None = None
) -> pd.DataFrame:
    """Run the items; one row each with its key, status and error. Finished runs are answered from the store.

    Raises InputError, before the first run, for a model that does not exist.
    """
    check_models(items, bench.workspace)
    chosen = executor or InThisProcess()
    rows: list[dict[str, Any]] = []
    for index, outcome in enumerate(chosen.map(lambda item: _run_one(bench, item), items)):
        rows.append(items[index].as_row() | outcome)
        progress((index + 1) / len(items), f"run {index + 1} of {len(items)}: {outcome['status']}")
    return pd.DataFrame(
        rows, columns=["model", "dtype", "analysis", "inputs", "spec", "run", "status", "seconds", "error"]
    )


def _run_one(bench: Workbench, item: BatchItem) -> dict[str, Any]:
    """A failed run is a row with its error and stops nothing else; only a cancel does."""
    try:
        model = bench.model(item.model, dtype=item.dtype)
        done = bench.run(item.analysis, model, spec=item.spec, **item.request.as_dict())
    except Cancelled:
        raise
    except Exception as error:
        return {"run": "", "status": "failed", "seconds": 0.0, "error": said(error)}
    return {"run": done.key, "status": "reused" if done.reused else "done", "seconds": done.seconds, "error": ""}


def _model(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, "float32"
    given = _mapping(entry, "models")
    if "model" not in given or set(given) - {"model", "dtype"}:
        raise InputError(f"models: {entry!r} must be a name or {{model: NAME, dtype: float32}}")
    return str(given["model"]), str(given.get("dtype", "float32"))


def _requests(entries: list[Any]) -> list[Request]:
    return [Request.from_dict(_mapping(entry, "inputs")) for entry in entries]


def _own(entry: dict[str, Any]) -> list[Request] | None:
    """The inputs of one entry alone, or None when it takes the common ones."""
    if "inputs" not in entry:
        return None
    if not isinstance(entry["inputs"], list) or not entry["inputs"]:
        raise InputError(f"analyses: {entry!r}: its inputs must be a list of one or more")
    return _requests(entry["inputs"])


def _grid(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if "analysis" not in entry or set(entry) - {"analysis", "spec", "grid", "inputs"}:
        raise InputError(f"analyses: {entry!r} must have analysis, and may have spec, grid and inputs")
    analysis, grid = get(str(entry["analysis"])), entry.get("grid") or {}
    specs = []
    for values in itertools.product(*grid.values()):
        spec = (entry.get("spec") or {}) | dict(zip(grid, values, strict=True))
        read_spec(analysis, spec)
        specs.append((analysis.name, spec))
    return specs


def _mapping(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: {entry!r} must be a mapping")
    return entry
