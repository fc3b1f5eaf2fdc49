"""Batch files: models × inputs × analyses × grids of options, expanded to content-keyed runs.

models:   [smollm2-135m, {model: toy:random, dtype: float32}]
inputs:   [{set: ioi, limit: 16}, {prompt: "The capital of France is"}]
analyses:
  - analysis: activation_patching
    spec: {direction: denoising}
    grid: {sites: [[resid_pre], [mlp_out]]}
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
    if (
        not isinstance(content, dict)
        or set(content) != set(keys)
        or not all(isinstance(content[k], list) for k in keys)
    ):
        raise InputError(
            f"batch file {file} must be a mapping with the lists {', '.join(keys)}; see docs/guide/batch.md"
        )
    models = [_model(entry) for entry in content["models"]]
    requests = [Request.from_dict(_mapping(entry, "inputs")) for entry in content["inputs"]]
    specs = [one for entry in content["analyses"] for one in _grid(_mapping(entry, "analyses"))]
    if empty := [key for key in keys if not content[key]]:
        raise InputError(f"batch file {file} asks for nothing: {' and '.join(empty)} must name at least one")
    for request, (analysis, _) in itertools.product(requests, specs):
        request.check(get(analysis))
    return [BatchItem(m, d, a, r, s) for (m, d), r, (a, s) in itertools.product(models, requests, specs)]


def check_models(items: Sequence[BatchItem], workspace: Path) -> None:
    """Refuse a batch that names a model or dtype that does not exist, before its first run. Raises InputError."""
    for model, dtype in dict.fromkeys((item.model, item.dtype) for item in items):
        check_model(model, dtype, workspace)


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


def _grid(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if "analysis" not in entry or set(entry) - {"analysis", "spec", "grid"}:
        raise InputError(f"analyses: {entry!r} must have analysis, and may have spec and grid")
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
