"""A training that is watched on its way, goes on where an interrupted run stood, and tells what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._dictionaries.quality import Quality
from analyses._dictionaries.training import DEAD_BATCHES, Batches, Schedule
from analyses.train_dictionary.tables import table
from kernels.dictionary_step import Step

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from hooks.sites import Site

REMEMBER_SECONDS = 30.0
MEASURED_ROWS = 4096
"""Held-out rows of the measurements on the way; the last one takes all."""
CURVE = ("layer", "step", "reconstruction", "sparsity", "auxiliary", "explained", "active", "dead")


class Trained(Protocol):
    """What a training of one dictionary and one of a cross-layer set have in common."""

    step: int
    silent: Tensor
    schedule: Schedule
    batches: Batches

    def run(self) -> Iterator[Any]:
        """A Step, or one a layer, for each step that is left."""

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()`."""


def schedule_of(spec: TrainSpec, rows: int) -> Schedule:
    """Of a training on so many rows, of which a batch may have fewer than was asked for."""
    return Schedule(spec.steps, spec.batch, spec.rate, DEAD_BATCHES * min(spec.batch, rows), spec.draw_seed)


def watched(
    training: Trained, layers: Sequence[int], measure: Callable[[], Sequence[Quality]], spec: TrainSpec,
    context: Context, span: tuple[float, float],
) -> pd.DataFrame:  # fmt: skip
    """Run a training to its end, from where it was interrupted; its curve, `measure` giving a Quality a layer."""
    name = f"L{layers[0]}" if len(layers) == 1 else "layers together"
    rows = _resumed(training, name, context)
    at = {round((place + 1) * spec.steps / spec.points) for place in range(spec.points)} | {1, spec.steps}
    begun, begun_at, kept = time.perf_counter(), training.step, time.perf_counter()
    for steps in training.run():
        speed = (training.step - begun_at) * training.batches.size / (time.perf_counter() - begun)
        if training.step in at:
            rows += _measured(training, layers, [steps] if isinstance(steps, Step) else steps, measure())
            _show(context, name, rows)
        share = span[0] + (span[1] - span[0]) * training.step / spec.steps
        context.progress(share, f"{name}: step {training.step:,} of {spec.steps:,}, {speed:,.0f} tokens/s")
        if time.perf_counter() - kept > REMEMBER_SECONDS or training.step == spec.steps:
            context.remember(name, training.state() | {"curve": torch.tensor(rows, dtype=torch.float64)})
            kept = time.perf_counter()
    return table("curve", [dict(zip(CURVE, row, strict=True)) for row in rows])


def summary_row(
    pair: tuple[Site, Site], latents: int, trained: int, left_out: int, found: Quality, spec: TrainSpec,
    components: float = float("nan"),
) -> dict[str, object]:  # fmt: skip
    """The summary's row of one layer."""
    reads, writes = pair
    return {
        "layer": -1 if reads.layer is None else reads.layer, "reads": reads.name, "writes": writes.name,
        "latents": latents, "trained": trained, "held": found.rows, "left_out": left_out,
        "passes": spec.steps * min(spec.batch, trained) / trained, "explained": found.explained,
        "components": components, "active": found.active, "dead": float((found.density == 0).float().mean()),
        "cosine": found.cosine, "norm_ratio": found.norm_ratio, "bias": found.bias,
    }  # fmt: skip


def density_rows(layer: int, found: Quality) -> list[dict[str, object]]:
    """A row a latent."""
    return [{"layer": layer, "latent": one, "density": density} for one, density in enumerate(found.density.tolist())]


def _measured(
    training: Trained, layers: Sequence[int], steps: Sequence[Step], found: Sequence[Quality]
) -> list[list[float]]:
    silent = training.silent.reshape(len(layers), -1) >= training.schedule.dead_after
    return [
        [layer, training.step, *step.losses.values(), one.explained, one.active, dead]
        for layer, step, one, dead in zip(layers, steps, found, silent.float().mean(dim=1).tolist(), strict=True)
    ]


def _resumed(training: Trained, name: str, context: Context) -> list[list[float]]:
    state = context.recall(name)
    if state is None:
        return []
    rows: list[list[float]] = state.pop("curve").reshape(-1, len(CURVE)).tolist()
    training.restore(state)
    return rows


def _show(context: Context, name: str, rows: Sequence[Sequence[float]]) -> None:
    """Of several layers, their mean."""
    frame = pd.DataFrame(rows, columns=list(CURVE)).groupby("step").mean().reset_index()
    context.show(f"{name} explained variance, dead share", frame[["step", "explained", "dead"]])
    context.show(f"{name} active latents", frame[["step", "active"]])
    context.show(f"{name} loss", frame[["step", "reconstruction"]])
