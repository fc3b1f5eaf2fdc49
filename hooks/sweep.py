"""Sweeps: many interventions on one prompt, a few metrics each.

`define` is the definition, one full forward a cell; the fast engine (`hooks/fast_sweep.py`) must equal it and is
compared with it in tests. What the fast engine cannot express is computed by the definition, and the result says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.errors import InputError, unknown
from hooks.fast_sweep import fast
from hooks.interventions import Intervention
from hooks.metrics import Metric, log_prob, logit_diff
from hooks.progress import Progress, silent
from hooks.sweep_jobs import expressible, job_of, unchanged, why_not

if TYPE_CHECKING:
    from hooks.model import Model

ENGINES = ("fast", "definition")
SAMPLE = 2
"""Full forwards' worth of token rows computed to predict how long all will take."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of a sweep: its coordinates (for the result's rows) and the interventions in force there."""

    coords: dict[str, int | str]
    interventions: tuple[Intervention, ...]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will cost, before it runs: cells, the work in full forwards, and seconds on this machine."""

    cells: int
    forwards: int
    seconds: float
    engine: str


@dataclass(frozen=True, eq=False)
class SweepResult:
    """`values` is [cell metric] in the order of the cells and metrics; `engine` names what computed it.

    `fallback` says how many cells the definition computed although the fast engine was asked for, and why; "" if none.
    """

    values: Tensor
    engine: str
    seconds: float
    fallback: str = ""


def plan(model: Model, tokens: Tensor, cells: Sequence[Cell], engine: str = "fast") -> SweepPlan:
    """Count the work of a sweep in full forwards and predict its time from a timed forward and a timed sample of cells.

    The fast engine computes a share of a forward for each cell that changes anything: its tail of the prompt, its
    remaining layers. Many tails share each product, so that the time is that of the sample, scaled by token rows.
    """
    _known(engine)
    layers, total = model.geometry.n_layers, tokens.shape[1]
    quick = [cell for cell in cells if expressible(cell)] if engine == "fast" and not why_not(model, total) else []
    patched = {i.site.whole for cell in quick for i in cell.interventions}
    base = run_with_cache(model, tokens, patched, last_only=True)
    forward = _seconds(lambda: run_with_cache(model, tokens, patched, last_only=True))
    jobs = [job_of(index, cell, layers, total) for index, cell in enumerate(quick)]
    rows = {job.index: (total - job.start) * (layers - job.layer) for job in jobs if not unchanged(job, base)}
    slow, work = len(cells) - len(quick), sum(rows.values())
    seconds = forward * slow
    if quick:
        sample = _latest(rows, SAMPLE * total * layers)
        a_row, a_cell = _rates(model, tokens, [quick[i] for i in sample], sum(rows[i] for i in sample))
        seconds += forward + a_row * work + a_cell * len(rows)
    return SweepPlan(len(cells), math.ceil(slow + bool(quick) + work / (total * layers)), seconds, engine)


def _latest(rows: dict[int, int], most: int) -> list[int]:
    """The jobs with the least to compute, up to `most` token rows: side by side they fill the products as all will."""
    chosen: list[int] = []
    for index in sorted(rows, key=lambda index: rows[index]):
        chosen.append(index)
        most -= rows[index]
        if most < 0:
            break
    return chosen


def _rates(model: Model, tokens: Tensor, sample: Sequence[Cell], rows: int) -> tuple[float, float]:
    """Seconds that the fast engine takes for a token row of one layer, and for a cell's logits over the vocabulary."""
    if not sample:
        return 0.0, 0.0
    narrow, wide = logit_diff(0, 1), log_prob(0)
    none, layered, whole = (
        _seconds(lambda chosen=chosen, metric=metric: fast(model, tokens, chosen, [metric]))  # type: ignore[misc]
        for chosen, metric in (((), narrow), (sample, narrow), (sample, wide))
    )
    return max(0.0, layered - none) / rows, max(0.0, whole - layered) / len(sample)


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two times: the first may warm something up, either may be disturbed."""
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def run_sweep(
    model: Model,
    tokens: Tensor,
    cells: Sequence[Cell],
    metrics: Sequence[Metric],
    *,
    engine: str = "fast",
    progress: Progress = silent,
) -> SweepResult:
    """Apply every cell's interventions to `tokens` [1 pos] and read the metrics off the last position.

    Raises:
        InputError: unknown engine, more than one prompt, a metric that is NaN (the first such cell is named).
    """
    _known(engine)
    if tokens.ndim != 2 or tokens.shape[0] != 1:
        raise InputError(f"a sweep reads one prompt, tokens [1 pos]; got shape {tuple(tokens.shape)}")
    started = time.perf_counter()
    values, fallback = torch.empty(len(cells), len(metrics)), ""
    reason = why_not(model, tokens.shape[1]) if engine == "fast" else "asked for"
    quick = [] if reason else [index for index, cell in enumerate(cells) if expressible(cell)]
    slow = [index for index in range(len(cells)) if index not in set(quick)]
    if quick:
        values[quick] = fast(model, tokens, [cells[i] for i in quick], metrics, progress)
    if slow:
        values[slow] = define(model, tokens, [cells[i] for i in slow], metrics, progress)
    if slow and engine == "fast":
        fallback = (
            f"{len(slow)} of {len(cells)} cells by the definition: {reason or 'they edit patterns or embeddings'}"
        )
    _refuse_nan(values, cells, metrics)
    return SweepResult(values, engine, time.perf_counter() - started, fallback)


def define(
    model: Model, tokens: Tensor, cells: Sequence[Cell], metrics: Sequence[Metric], progress: Progress = silent
) -> Tensor:
    """The definition: one cell, one full forward. Returns [cell metric] in fp32."""
    values = torch.empty(len(cells), len(metrics))
    for index, cell in enumerate(cells):
        progress(index / len(cells), f"cell {index + 1} of {len(cells)}")
        logits = run_with_cache(model, tokens, (), cell.interventions, last_only=True).logits[:, -1]
        values[index] = torch.stack([metric(logits)[0] for metric in metrics])
    return values


def _known(engine: str) -> None:
    if engine not in ENGINES:
        raise unknown("sweep engine", engine, ENGINES)


def _refuse_nan(values: Tensor, cells: Sequence[Cell], metrics: Sequence[Metric]) -> None:
    bad = torch.isnan(values).nonzero()
    if len(bad):
        cell, metric = (int(i) for i in bad[0])
        raise InputError(
            f"{metrics[metric].name} is NaN in {len(bad)} of {values.numel()} results, first at {cells[cell].coords}: "
            "the model overflowed there; try float32 or another value"
        )
