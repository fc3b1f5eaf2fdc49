"""The jobs of a fast sweep: where each cell's change begins, and which cells change nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hooks.capture import Cache
from hooks.interventions import Intervention, Patch, positions
from hooks.sites import PATTERN_KINDS, Site

if TYPE_CHECKING:
    from hooks.model import Model
    from hooks.sweep import Cell


@dataclass(frozen=True, eq=False)
class Job:
    """One cell, ready to run: the layer it resumes at and the first position it changes."""

    index: int
    layer: int
    start: int
    interventions: tuple[Intervention, ...]


def why_not(model: Model, total: int) -> str:
    """Why this model and prompt cannot take the fast path at all; "" when they can."""
    window = getattr(model.module.config, "sliding_window", None)
    if window and total > int(window):  # type: ignore[arg-type]
        return f"the prompt is longer than the model's attention window of {window} tokens"
    return ""


def expressible(cell: Cell) -> bool:
    """Whether a cell can take the fast path: it edits neither patterns nor the token embedding."""
    return all(i.site.kind not in PATTERN_KINDS and i.site.layer is not None for i in cell.interventions)


def job_of(index: int, cell: Cell, layers: int, total: int) -> Job:
    """The job of a cell for a model of `layers` layers and a prompt of `total` tokens."""
    # An edit of resid_post acts before one of the next resid_pre, in whatever order they were given.
    ordered = sorted(cell.interventions, key=lambda one: one.site.kind != "resid_post")
    edits = tuple(_moved(one, layers) for one in ordered)
    places = [_first(one.site, total) for one in edits]
    return Job(index, min((_layer(e) for e in edits), default=layers), min(places, default=total - 1), edits)


def _moved(one: Intervention, layers: int) -> Intervention:
    """resid_post of a layer is resid_pre of the next: start there instead."""
    return one.at_next_layer() if one.site.kind == "resid_post" and _layer(one) < layers - 1 else one


def _layer(one: Intervention) -> int:
    assert one.site.layer is not None
    return one.site.layer


def _first(site: Site, total: int) -> int:
    places = positions(site, total)
    return 0 if isinstance(places, slice) else min(places)


def unchanged(job: Job, base: Cache) -> bool:
    """Whether every intervention is a patch that equals the base run bit for bit."""
    return all(isinstance(i, Patch) and i.site.whole in base.activations and _equal(i, base) for i in job.interventions)


def _equal(patch: Patch, base: Cache) -> bool:
    there = base[patch.site]
    return patch.value.shape == there.shape and torch.equal(patch.value.to(there.dtype), there)


def batches(jobs: list[Job], total: int, rows: int) -> Iterator[list[Job]]:
    """Cells in order of their first layer, cut so that their tails fill at most `rows` rows."""
    batch: list[Job] = []
    filled = 0
    for job in sorted(jobs, key=lambda job: (job.layer, job.start)):
        if batch and filled + total - job.start > rows:
            yield batch
            batch, filled = [], 0
        batch.append(job)
        filled += total - job.start
    if batch:
        yield batch
