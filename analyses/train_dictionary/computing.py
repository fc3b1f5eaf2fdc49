"""Training and the held-out measures of one or several dictionaries, from one reading of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.corpus import KIND as TEXT
from analyses._dictionaries.harvest import Harvest
from analyses._dictionaries.kept import KIND, contents, cross_contents
from analyses._dictionaries.quality import explained_by_components, quality
from analyses._dictionaries.seen import NAME as SEEN
from analyses._dictionaries.training import Training
from analyses.train_dictionary.crossing import train_crossing
from analyses.train_dictionary.rows import READ, Taken, read_rows, usual_rows
from analyses.train_dictionary.tables import table
from analyses.train_dictionary.watching import MEASURED_ROWS, density_rows, schedule_of, summary_row, watched
from data.artifacts import check_name
from hooks.dictionaries import Placed, channels
from hooks.errors import InputError
from hooks.sites import Site
from kernels.dictionary_step import COUNTED, Rule

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from hooks.model import Model

LAMBDA = {"standard": 0.5, "gated": 1.0, "jumprelu": 1.0}
BANDWIDTH = 0.2
PREFIXES = 4

Sites = tuple[Site, Site]


def checked(model: Model, spec: TrainSpec) -> list[Sites]:
    """(reads, writes) of each layer. Raises InputError for what this model or these options do not allow."""
    if spec.keep_as is not None:
        check_name(spec.keep_as)
        check_name(f"{spec.keep_as}.text")
    last = model.geometry.n_layers - 1
    if spec.kind == "cross_layer" and (spec.architecture != "batch_topk" or len(spec.layers) < 2):
        raise InputError("option kind = cross_layer: it is trained by batch_topk, on two layers or more (--layers)")
    layers = spec.layers or (model.geometry.n_layers // 2,)
    if wrong := [one for one in layers if not 0 <= one <= last]:
        raise InputError(f"option layers = {wrong[0]}: this model has layers 0 to {last}")
    if len(set(layers)) < len(layers):
        raise InputError(f"option layers = {layers}: a layer is named twice")
    kinds = (spec.site, spec.site) if spec.kind == "autoencoder" else ("ln2_normalized", "mlp_out")
    found = [(Site(layer, kinds[0]), Site(layer, kinds[1])) for layer in sorted(layers)]
    for pair in found:
        for site in pair:
            site.check(model.geometry)
    if spec.active > latents_of(model, found[0][1], spec):
        raise InputError(f"option active = {spec.active}: there are {latents_of(model, found[0][1], spec)} latents")
    return found


def latents_of(model: Model, writes: Site, spec: TrainSpec) -> int:
    """As asked, or four times the channels written."""
    return spec.latents or 4 * channels(writes, model)


def rule_of(spec: TrainSpec, latents: int) -> Rule:
    """The loss that the options ask for."""
    ends = tuple(sorted({max(1, latents >> shift) for shift in range(PREFIXES)}))
    nested = spec.architecture == "matryoshka"
    revived = spec.architecture in COUNTED or spec.architecture == "jumprelu"
    return Rule(
        spec.architecture, k=spec.active, prefixes=ends if nested else (), bandwidth=BANDWIDTH,
        sparsity=spec.sparsity or LAMBDA.get(spec.architecture, 0.0), auxiliary=1 / 32 if revived else 0.0,
        centred=spec.kind == "autoencoder",
    )  # fmt: skip


def train_all(model: Model, inputs: Inputs, spec: TrainSpec, context: Context) -> Frames:
    """Every layer's dictionary, one after the other, from one reading of the text."""
    places = checked(model, spec)
    latents = latents_of(model, places[0][1], spec)
    taken = read_rows(model, inputs, spec, places, latents, context)
    read, held = taken.rows, taken.held
    if spec.kind == "cross_layer":
        crossing, frames = train_crossing(model, spec, read, held, places, latents, context)
        _keep(model, spec, taken, context, lambda about: cross_contents(crossing, about))
        return frames
    rows: dict[str, list[pd.DataFrame]] = {"curve": [], "summary": [], "densities": []}
    made: list[Placed] = []
    for place, pair in enumerate(places):
        span = (READ + (1 - READ) * place / len(places), READ + (1 - READ) * (place + 1) / len(places))
        placed, frames = _train_one(model, spec, read, held, pair, context, span)
        made.append(replace(placed, about=placed.about | {"metadata": taken.metadata}))
        for name, frame in frames.items():
            rows[name].append(frame)
    _keep(model, spec, taken, context, lambda about: contents(made, about))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in rows.items()}


def _keep(
    model: Model, spec: TrainSpec, taken: Taken, context: Context,
    artifact: Callable[[dict[str, Any]], tuple[dict[str, Tensor], dict[str, Any]]],
) -> None:  # fmt: skip
    """Keep `artifact(about)`, (tensors, meta), and the text where it was drawn, if a name was given."""
    if spec.keep_as is None:
        return
    outside = taken.rows.text[taken.held].unique().tolist()
    about = {"text": taken.source, "tokens": len(taken.held), "seed": spec.draw_seed, "held": outside}
    tensors, meta = artifact(about)
    context.keep(spec.keep_as, KIND, tensors | {SEEN: taken.seen}, meta)
    if taken.drawn is not None:
        vocabulary = {"source": taken.source, "vocabulary": model.geometry.d_vocab}
        context.keep(f"{spec.keep_as}.text", TEXT, taken.drawn.contents(), vocabulary)


def _train_one(
    model: Model, spec: TrainSpec, read: Harvest, held: Tensor, pair: Sites, context: Context, span: tuple[float, float]
) -> tuple[Placed, dict[str, pd.DataFrame]]:
    reads, writes = pair
    usual = usual_rows([read.values[site] for site in dict.fromkeys(pair)], spec.norm_limit)
    x, held_x = read.values[reads][~held & usual], read.values[reads][held & usual]
    target, held_target = x, held_x
    if reads != writes:
        target, held_target = read.values[writes][~held & usual], read.values[writes][held & usual]
    latents = latents_of(model, writes, spec)
    training = Training(
        x, target, rule_of(spec, latents), latents, schedule_of(spec, len(x)), skip=spec.kind == "skip_transcoder"
    )
    layer, some = -1 if reads.layer is None else reads.layer, slice(0, MEASURED_ROWS)
    curve = watched(training, [layer], lambda: [quality(training.dictionary(), held_x[some], held_target[some])],
                    spec, context, span)  # fmt: skip
    dictionary = training.dictionary()
    found = quality(dictionary, held_x, held_target)
    components = explained_by_components(x, target, held_x, held_target, min(spec.active, x.shape[1]))
    told = summary_row(pair, latents, len(x), int((~usual).sum()), found, spec, components)
    about = {"kind": spec.kind, "trained_as": spec.architecture, "steps": spec.steps, "explained": found.explained,
             "active": found.active}  # fmt: skip
    placed = Placed(dictionary, reads, writes, model.identity.as_dict(), about)
    densities = table("densities", density_rows(layer, found))
    return placed, {"curve": curve, "summary": table("summary", [told]), "densities": densities}
