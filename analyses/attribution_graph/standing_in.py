"""The transcoders of a run: kept ones by their name, else small ones of a few layers, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyses._contract import Context
from analyses._dictionaries.corpus import drawn_corpus
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.kept import all_of, cross_of, is_cross
from analyses._dictionaries.training import DEAD_BATCHES, Schedule, Training
from hooks.dictionaries import Placed
from hooks.replacement import Transcoders
from hooks.sites import Site
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec
    from hooks.model import Model

LAYERS, LATENTS, ACTIVE, STEPS, BATCH, RATE, LENGTH = 3, 256, 8, 40, 256, 0.003, 16
"""Of transcoders made on the spot: seconds of training, for a first look and no more."""


@dataclass(frozen=True, eq=False)
class StandIns:
    """Transcoders, and what to call them."""

    transcoders: Transcoders
    name: str
    revision: str = ""


def stand_ins(model: Model, spec: AttributionGraphSpec, context: Context, share: float) -> StandIns:
    """The named ones, or small ones; progress goes from 0 to `share`. Raises InputError for what does not fit."""
    if spec.transcoders is None:
        return StandIns(Transcoders.of_placed(_made(model, spec, context, share), model), "trained on the spot")
    artifact = context.use("transcoders")
    if is_cross(artifact):
        return StandIns(Transcoders.of_cross(cross_of(artifact, model), model), artifact.name, artifact.revision)
    return StandIns(Transcoders.of_placed(all_of(artifact, model), model), artifact.name, artifact.revision)


def _made(model: Model, spec: AttributionGraphSpec, context: Context, share: float) -> list[Placed]:
    count = min(LAYERS, model.geometry.n_layers)
    layers = sorted({round((place + 0.5) * model.geometry.n_layers / count - 0.5) for place in range(count)})
    corpus = drawn_corpus(model, spec.drawn, min(LENGTH, model.geometry.n_ctx), spec.draw_seed, context, share / 2)
    places = {layer: (Site(layer, "ln2_normalized"), Site(layer, "mlp_out")) for layer in layers}
    sites = [site for pair in places.values() for site in pair]
    read = harvest(model, corpus, sites, lambda done, words: context.progress(share * (0.5 + done / 4), words))
    made = []
    for number, (layer, (reads, writes)) in enumerate(places.items()):
        x, target = read.values[reads], read.values[writes]
        latents = min(LATENTS, len(x) // 2)
        rule = Rule("batch_topk", k=min(ACTIVE, latents), auxiliary=1 / 32, centred=False)
        schedule = Schedule(STEPS, BATCH, RATE, DEAD_BATCHES * min(BATCH, len(x)), spec.draw_seed)
        training = Training(x, target, rule, latents, schedule)
        for _ in training.run():
            done = (number + training.step / STEPS) / len(layers)
            context.progress(share * (0.75 + done / 4), f"transcoder of layer {layer}, step {training.step} of {STEPS}")
        made.append(Placed(training.dictionary(), reads, writes, model.identity.as_dict(), {"kind": "transcoder"}))
    return made
