"""Training one cross-layer transcoder, and its held-out measures layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._dictionaries.cross_training import CrossTraining
from analyses._dictionaries.harvest import Harvest
from analyses._dictionaries.quality import cross_qualities
from analyses.train_dictionary.rows import READ, usual_rows
from analyses.train_dictionary.tables import table
from analyses.train_dictionary.watching import MEASURED_ROWS, density_rows, schedule_of, summary_row, watched
from hooks.dictionaries import CrossLayer
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from hooks.model import Model
    from hooks.sites import Site


def train_crossing(
    model: Model, spec: TrainSpec, read: Harvest, held: Tensor, places: list[tuple[Site, Site]], latents: int,
    context: Context,
) -> tuple[CrossLayer, dict[str, pd.DataFrame]]:  # fmt: skip
    """The transcoder of all `places`, and the frames: a row a layer, measured at the layer's own MLP output."""
    usual = usual_rows([read.values[site] for pair in places for site in pair], spec.norm_limit)
    x, target = (torch.stack([read.values[pair[side]] for pair in places]) for side in (0, 1))
    trained = int((~held & usual).sum())
    rule, schedule = Rule("batch_topk", k=spec.active, centred=False), schedule_of(spec, trained)
    training = CrossTraining(x[:, ~held & usual], target[:, ~held & usual], rule, latents, schedule)
    held_x, held_target = x[:, held & usual], target[:, held & usual]
    layers = [int(pair[0].layer or 0) for pair in places]
    some = slice(0, MEASURED_ROWS)
    curve = watched(
        training, layers,
        lambda: cross_qualities(training.finished(layers, {}), held_x[:, some], held_target[:, some]),
        spec, context, (READ, 1.0),
    )  # fmt: skip
    made = training.finished(layers, model.identity.as_dict())
    found, left_out = cross_qualities(made, held_x, held_target), int((~usual).sum())
    summary = [
        summary_row(pair, latents, trained, left_out, one, spec) for pair, one in zip(places, found, strict=True)
    ]
    densities = [row for layer, one in zip(layers, found, strict=True) for row in density_rows(layer, one)]
    return made, {"curve": curve, "summary": table("summary", summary), "densities": table("densities", densities)}
