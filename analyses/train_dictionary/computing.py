"""Training and the held-out measures of one or several dictionaries, from one reading of activations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.corpus import KIND as TEXT
from analyses._dictionaries.harvest import Harvest
from analyses._dictionaries.kept import CROSS, KIND, contents, cross_contents
from analyses._dictionaries.quality import explained_by_components, quality
from analyses._dictionaries.training import Schedule, Training
from analyses.train_dictionary.crossing import train_crossing
from analyses.train_dictionary.rows import READ, Taken, read_rows, refuse_short, usual_rows
from analyses.train_dictionary.tables import table
from data.artifacts import check_name
from hooks.dictionaries import Placed, channels
from hooks.errors import InputError
from hooks.sites import Site
from kernels.dictionary_step import COUNTED, Rule

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from hooks.model import Model

DEAD_BATCHES = 20
LAMBDA = {"standard": 0.5, "gated": 1.0, "jumprelu": 1.0}
BANDWIDTH = 0.2
PREFIXES = 4
REMEMBER_SECONDS = 30.0
MEASURED_ROWS = 4096
"""Held-out rows of the measurements on the way; the last one takes all."""

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
    taken = read_rows(model, inputs, spec, places, context)
    read, held = taken.rows, taken.held
    refuse_short(held, latents_of(model, places[0][1], spec), spec.held_out)
    if spec.kind == "cross_layer":
        crossing, frames = train_crossing(
            model, spec, read, held, places, latents_of(model, places[0][1], spec), context
        )
        _keep(model, spec, taken, context, lambda about: (CROSS, *cross_contents(crossing, about)))
        return frames
    rows: dict[str, list[pd.DataFrame]] = {"curve": [], "summary": [], "densities": []}
    made: list[Placed] = []
    for place, pair in enumerate(places):
        span = (READ + (1 - READ) * place / len(places), READ + (1 - READ) * (place + 1) / len(places))
        placed, frames = _train_one(model, spec, read, held, pair, context, span)
        made.append(placed)
        for name, frame in frames.items():
            rows[name].append(frame)
    _keep(model, spec, taken, context, lambda about: (KIND, *contents(made, about)))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in rows.items()}


def _keep(
    model: Model, spec: TrainSpec, taken: Taken, context: Context, artifact: Callable[[dict[str, Any]], Any]
) -> None:
    """Keep `artifact(about)`, (kind, tensors, meta), and the text where it was drawn, if a name was given."""
    if spec.keep_as is None:
        return
    outside = taken.rows.text[taken.held].unique().tolist()
    about = {"text": taken.source, "tokens": len(taken.held), "seed": spec.draw_seed, "held": outside}
    context.keep(spec.keep_as, *artifact(about))
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
    schedule = Schedule(spec.steps, spec.batch, spec.rate, DEAD_BATCHES * spec.batch, spec.draw_seed)
    training = Training(x, target, rule_of(spec, latents), latents, schedule, skip=spec.kind == "skip_transcoder")
    curve = _watched(training, held_x, held_target, spec, f"L{reads.layer}", context, span)
    dictionary = training.dictionary()
    found = quality(dictionary, held_x, held_target)
    components = explained_by_components(x, target, held_x, held_target, min(spec.active, x.shape[1]))
    layer = -1 if reads.layer is None else reads.layer
    told = {
        "layer": layer, "reads": reads.name, "writes": writes.name, "latents": latents, "trained": len(x),
        "held": found.rows, "left_out": int((~usual).sum()),
        "passes": spec.steps * min(spec.batch, len(x)) / len(x), "explained": found.explained,
        "components": components, "active": found.active, "dead": float((found.density == 0).float().mean()),
        "cosine": found.cosine, "norm_ratio": found.norm_ratio, "bias": found.bias,
    }  # fmt: skip
    densities = table("densities", [
        {"layer": layer, "latent": latent, "density": density} for latent, density in enumerate(found.density.tolist())
    ])  # fmt: skip
    about = {"kind": spec.kind, "trained_as": spec.architecture, "steps": spec.steps, "explained": found.explained,
             "active": found.active}  # fmt: skip
    placed = Placed(dictionary, reads, writes, model.identity.as_dict(), about)
    return placed, {"curve": curve, "summary": table("summary", [told]), "densities": densities}


def _watched(
    training: Training,
    held_x: Tensor,
    held: Tensor,
    spec: TrainSpec,
    name: str,
    context: Context,
    span: tuple[float, float],
) -> pd.DataFrame:
    """Run a training to its end, from where it was interrupted; the curve's rows as they are measured."""
    rows = _resumed(training, name, context)
    at = {round((place + 1) * spec.steps / spec.points) - 1 for place in range(spec.points)} | {0, spec.steps - 1}
    some = slice(0, MEASURED_ROWS)
    begun, begun_at, kept = time.perf_counter(), training.step, time.perf_counter()
    for step in training.run():
        now = training.step - 1
        speed = (training.step - begun_at) * training.batches.size / (time.perf_counter() - begun)
        if now in at:
            found = quality(training.dictionary(), held_x[some], held[some])
            rows.append([int(name[1:]), training.step, *step.losses.values(), found.explained, found.active,
                         float((training.silent >= training.schedule.dead_after).float().mean())])  # fmt: skip
            _show(context, name, rows)
        share = span[0] + (span[1] - span[0]) * training.step / spec.steps
        context.progress(share, f"{name}: step {training.step:,} of {spec.steps:,}, {speed:,.0f} tokens/s")
        if time.perf_counter() - kept > REMEMBER_SECONDS or training.step == spec.steps:
            context.remember(name, training.state() | {"curve": torch.tensor(rows, dtype=torch.float64)})
            kept = time.perf_counter()
    return table("curve", [dict(zip(CURVE, row, strict=True)) for row in rows])


CURVE = ("layer", "step", "reconstruction", "sparsity", "auxiliary", "explained", "active", "dead")


def _resumed(training: Training, name: str, context: Context) -> list[list[float]]:
    state = context.recall(name)
    if state is None:
        return []
    rows: list[list[float]] = state.pop("curve").reshape(-1, len(CURVE)).tolist()
    training.restore(state)
    return rows


def _show(context: Context, name: str, rows: Sequence[Sequence[float]]) -> None:
    frame = pd.DataFrame(rows, columns=list(CURVE))
    context.show(f"{name} explained variance, dead share", frame[["step", "explained", "dead"]])
    context.show(f"{name} active latents", frame[["step", "active"]])
    context.show(f"{name} loss", frame[["step", "reconstruction"]])
