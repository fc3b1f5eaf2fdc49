"""A run of a lens with one map a layer: fit it or take a kept one, score it, read one text with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from analyses._common import LAYER
from analyses._contract import Column, Context, Frames, Inputs
from analyses._trained_lenses.keeping import Key, chosen, lenses_of, meta_of, seen_among, tensors_of
from analyses._trained_lenses.options import DRAWING, TrainedLensSpec, check_fit, few_layers, texts_to_fit
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.rows import Rows, read_rows
from analyses._trained_lenses.scoring import ABOUT, CURVES, scores_columns, summary, texts_columns
from analyses._trained_lenses.texts import Texts, given_texts
from analyses._trained_lenses.training import Data
from analyses._trained_lenses.translators import Affine
from analyses._trained_lenses.workflow import CELLS, SQUARES, Job, average_of, cells_table, fit_all, pictured, score_all
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

Parts = tuple[Tensor, Tensor]
READ = 0.3
"""Share of the progress bar until fitting begins."""


@dataclass(frozen=True)
class Way:
    """What one kind of lens reads.

    Attributes:
        kind: of its artifacts.
        title, plain: what the fitted lens and the one without fitting are called.
        site: kind of the site it reads.
        spared: how many of the model's last layers need no lens.
        parts: (model, layer, states [row …]) → x [row d_in] and base [row d_model], the state that plain reads.
        width: d_in of a model.
    """

    kind: str
    title: str
    plain: str
    site: str
    spared: int
    parts: Callable[[Model, int, Tensor], Parts]
    width: Callable[[Model], int]


@dataclass(frozen=True, eq=False)
class Done:
    """The frames, the maps by key, and the pictured text: its ids and rows."""

    frames: Frames
    lenses: dict[Key, Affine]
    ids: list[int]
    rows: Rows


def layers_to_fit(model: Model, layers: Sequence[int], spared: int) -> list[int]:
    """The layers, a few when none is given. Raises InputError for one that is not there or needs no lens."""
    last = model.geometry.n_layers - 1 - spared
    for layer in layers:
        if not 0 <= layer <= last:
            own = "; the last layer's output is the model's own" if spared else ""
            raise InputError(f"layer {layer} can have no such lens: layers 0 to {last} can{own}")
    return sorted(set(layers)) or few_layers(last)


def check_lens(way: Way, model: Model, inputs: Inputs, spec: Any) -> None:
    """Refuse, before anything runs, what can be neither fitted, kept nor read."""
    check_fit(model, inputs, spec, spec.lens)
    if spec.lens is None:
        layers_to_fit(model, spec.layers, way.spared)
    if inputs.prompt is not None and spec.lens is not None and len(model.encode(inputs.prompt)) < 2:
        raise InputError("the prompt is one token: a text's first token is not scored, so give at least two")


def run_lens(way: Way, model: Model, inputs: Inputs, spec: Any, context: Context) -> Done:
    """Everything that a lens with one map a layer shows. Raises InputError as its parts say."""
    check_lens(way, model, inputs, spec)
    return (_fitted if spec.lens is None else _read)(way, model, inputs, spec, context)


def _fitted(way: Way, model: Model, inputs: Inputs, spec: TrainedLensSpec, context: Context) -> Done:
    layers, readout = layers_to_fit(model, spec.layers, way.spared), Readout.of(model)
    texts = texts_to_fit(model, inputs, spec, context)
    rows = read_rows(model, texts.ids, _sites(way, layers), partial(while_reading, context))
    jobs = _jobs(way, model, layers, rows, texts)
    found = fit_all(jobs, readout, spec, context, READ)
    average = average_of(readout, rows.finals, rows.of(texts.fitted))
    ways = {SQUARES: found.squares, way.title: found.lenses}
    scores = score_all(jobs, ways, way.plain, readout, average, context)
    positions = len(rows.of(texts.fitted))
    if spec.keep_as is not None:
        settings = {"start": spec.start, "steps": spec.steps, "length": spec.length}
        meta = meta_of(model, way.site, texts, positions, settings)
        context.keep(spec.keep_as, way.kind, tensors_of(found.lenses) | {"average": average}, meta)
    ids, what = pictured(model, inputs.prompt, texts.ids[texts.tested[0]])
    about = {"lens": "fitted here", "model": model.identity.name, "origin": texts.origin,
             "fitted_texts": len(texts.fitted), "fitted_positions": positions, "scored": "held-out texts", "seen": 0,
             "pictured": what}  # fmt: skip
    frames = {"scores": summary(scores, ["layer"], way.plain), "texts": scores, "curves": found.curves}
    return _done(way, model, readout, frames, about, found.lenses, ids)


def while_reading(context: Context, share: float, words: str) -> None:
    """Progress of a capture, between DRAWING and READ."""
    context.progress(DRAWING + (READ - DRAWING) * share, words)


def _read(way: Way, model: Model, inputs: Inputs, spec: Any, context: Context) -> Done:
    kept = context.use("lens")
    lenses = chosen(kept, lenses_of(model, kept, (way.width(model), model.geometry.d_model)), spec.layers)
    readout, layers = Readout.of(model), sorted({key[0] for key in lenses})
    prompt = None if inputs.prompt is None else tuple(model.encode(inputs.prompt))
    given = given_texts(model, inputs, spec.length) if prompt is None else Texts((prompt,), ("",), "prompt")
    if not given.ids:
        raise InputError("no text has the four tokens that a lens is scored on: give longer texts")
    texts = Texts(given.ids, given.kinds, given.origin, tested=tuple(range(len(given.ids))))
    rows = read_rows(model, texts.ids, _sites(way, layers), context.progress)
    jobs = _jobs(way, model, layers, rows, texts)
    average = kept.tensors.get("average")
    scores = score_all(jobs, {way.title: lenses}, way.plain, readout,
                       None if average is None else average.to(model.device), context)  # fmt: skip
    ids, what = pictured(model, inputs.prompt, texts.ids[0])
    meta = kept.meta
    about = {"lens": kept.name, "model": model.identity.name, "origin": meta["origin"],
             "fitted_texts": meta["fitted_texts"], "fitted_positions": meta["fitted_positions"],
             "scored": "texts" if prompt is None else "the prompt", "seen": seen_among(kept, texts.marks(texts.tested)),
             "pictured": what if prompt is not None else "the beginning of the first text"}  # fmt: skip
    curves = pd.DataFrame(columns=["layer", "step", "fitted", "checked"]).astype(
        {"layer": int, "step": int, "fitted": float, "checked": float})  # fmt: skip
    frames = {"scores": summary(scores, ["layer"], way.plain), "texts": scores, "curves": curves}
    return _done(way, model, readout, frames, about, lenses, ids)


def _done(
    way: Way, model: Model, readout: Readout, frames: Frames, about: dict[str, Any], lenses: dict[Key, Affine],
    ids: list[int],
) -> Done:  # fmt: skip
    layers = sorted({key[0] for key in lenses})
    rows = read_rows(model, [ids], _sites(way, layers), lambda *_: None)
    states: list[tuple[int, str, Tensor]] = []
    for layer in layers:
        x, base = way.parts(model, layer, rows.states[Site(layer, way.site)])
        states += [(layer, way.plain, base), (layer, way.title, lenses[layer,](base, x))]
    cells = cells_table(model, readout, ids, rows.finals, states)
    return Done(frames | {"cells": cells, "about": pd.DataFrame([about])}, lenses, ids, rows)


def _sites(way: Way, layers: Sequence[int]) -> list[Site]:
    return [Site(layer, way.site) for layer in layers]


def _jobs(way: Way, model: Model, layers: Sequence[int], rows: Rows, texts: Texts) -> list[Job]:
    fitted, checked, tested = (rows.of(one) for one in (texts.fitted, texts.checked, texts.tested))

    def data(layer: int) -> Data:
        x, base = way.parts(model, layer, rows.states[Site(layer, way.site)])
        return Data(x, base, rows.finals, rows.text, fitted, checked, tested)

    return [Job((layer,), {"layer": layer}, partial(data, layer)) for layer in layers]


def columns_of(plain: str) -> dict[str, tuple[Column, ...]]:
    """The frames that `run_lens` leaves."""
    return {
        "scores": scores_columns([LAYER], plain),
        "texts": texts_columns([LAYER]),
        "curves": (LAYER, *CURVES),
        "cells": CELLS,
        "about": ABOUT,
    }


__all__ = ["Done", "Way", "check_lens", "columns_of", "layers_to_fit", "run_lens", "while_reading"]
