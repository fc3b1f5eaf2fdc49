"""Training one cross-layer transcoder, watched and resumable, and its held-out measures layer by layer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._dictionaries.cross_training import CrossTraining
from analyses._dictionaries.harvest import Harvest
from analyses._dictionaries.quality import Quality, judged
from analyses._dictionaries.training import Schedule
from analyses.train_dictionary.rows import READ, usual_rows
from analyses.train_dictionary.tables import table
from hooks.dictionaries import CrossLayer
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from hooks.model import Model
    from hooks.sites import Site

DEAD_BATCHES = 20
REMEMBER_SECONDS = 30.0
MEASURED = 2048
"""Held-out rows of the measurements on the way; the last one takes all."""
NAME = "layers together"
CURVE = ("layer", "step", "reconstruction", "sparsity", "auxiliary", "explained", "active", "dead")


def train_crossing(
    model: Model, spec: TrainSpec, read: Harvest, held: Tensor, places: list[tuple[Site, Site]], latents: int,
    context: Context,
) -> tuple[CrossLayer, dict[str, pd.DataFrame]]:  # fmt: skip
    """The transcoder of all `places`, and the frames: a row a layer, measured at the layer's own MLP output."""
    usual = usual_rows([read.values[site] for pair in places for site in pair], spec.norm_limit)
    x, target = (torch.stack([read.values[pair[side]] for pair in places]) for side in (0, 1))
    rule = Rule("batch_topk", k=spec.active, centred=False)
    schedule = Schedule(spec.steps, spec.batch, spec.rate, DEAD_BATCHES * spec.batch, spec.draw_seed)
    training = CrossTraining(x[:, ~held & usual], target[:, ~held & usual], rule, latents, schedule)
    held_x, held_target = x[:, held & usual], target[:, held & usual]
    layers = [int(pair[0].layer or 0) for pair in places]
    identity = model.identity.as_dict()
    rows = _watched(training, held_x, held_target, spec, layers, context)
    made = training.finished(layers, identity)
    summary, densities = [], []
    trained = int((~held & usual).sum())
    for place, (layer, found) in enumerate(zip(layers, _qualities(made, held_x, held_target), strict=True)):
        summary.append({
            "layer": layer, "reads": places[place][0].name, "writes": places[place][1].name, "latents": latents,
            "trained": trained, "held": found.rows, "left_out": int((~usual).sum()),
            "passes": spec.steps * min(spec.batch, trained) / trained, "explained": found.explained,
            "components": float("nan"), "active": found.active,
            "dead": float((found.density == 0).float().mean()), "cosine": found.cosine,
            "norm_ratio": found.norm_ratio, "bias": found.bias,
        })  # fmt: skip
        densities += [{"layer": layer, "latent": latent, "density": density}
                      for latent, density in enumerate(found.density.tolist())]  # fmt: skip
    curve = table("curve", [dict(zip(CURVE, row, strict=True)) for row in rows])
    return made, {"curve": curve, "summary": table("summary", summary), "densities": table("densities", densities)}


def _qualities(made: CrossLayer, x: Tensor, target: Tensor) -> list[Quality]:
    codes = made.encode(dict(zip(made.layers, x, strict=True)))
    written = made.decode(codes)
    fired = {layer: torch.bincount(one.index, minlength=one.d_dict) for layer, one in codes.items()}
    return [judged(written[layer], target[place], fired[layer] / x.shape[1]) for place, layer in enumerate(made.layers)]


def _watched(
    training: CrossTraining, held_x: Tensor, held: Tensor, spec: TrainSpec, layers: list[int], context: Context
) -> list[list[float]]:
    """The curve's rows, a row a layer and measurement; from where an interrupted run stopped."""
    rows: list[list[float]] = []
    if (state := context.recall(NAME)) is not None:
        rows = state.pop("curve").reshape(-1, len(CURVE)).tolist()
        training.restore(state)
    at = {round((place + 1) * spec.steps / spec.points) for place in range(spec.points)} | {1, spec.steps}
    begun, first, kept = time.perf_counter(), training.step, time.perf_counter()
    for steps in training.run():
        speed = (training.step - first) * training.batches.size / (time.perf_counter() - begun)
        if training.step in at:
            found = _qualities(training.finished(layers, {}), held_x[:, :MEASURED], held[:, :MEASURED])
            silent = (training.silent >= training.schedule.dead_after).float().mean(dim=1).tolist()
            rows += [[layer, training.step, *steps[place].losses.values(), found[place].explained, found[place].active,
                      silent[place]] for place, layer in enumerate(layers)]  # fmt: skip
            last = pd.DataFrame(rows, columns=list(CURVE)).groupby("step")[["explained", "active", "dead"]].mean()
            context.show("mean over layers", last.reset_index())
        context.progress(READ + (1 - READ) * training.step / spec.steps,
                         f"{NAME}: step {training.step:,} of {spec.steps:,}, {speed:,.0f} tokens/s")  # fmt: skip
        if time.perf_counter() - kept > REMEMBER_SECONDS:
            context.remember(NAME, training.state() | {"curve": torch.tensor(rows, dtype=torch.float64)})
            kept = time.perf_counter()
    return rows
