"""A run of the future lens: a map a layer and offset, fitted on what the model itself goes on to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._trained_lenses.keeping import Key, chosen, lenses_of, meta_of, seen_among, tensors_of
from analyses._trained_lenses.options import texts_to_fit
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.rows import Rows, read_rows
from analyses._trained_lenses.running import READ, layers_to_fit, while_reading
from analyses._trained_lenses.scoring import score
from analyses._trained_lenses.texts import Texts, given_texts
from analyses._trained_lenses.training import Data
from analyses._trained_lenses.translators import Affine
from analyses._trained_lenses.workflow import Fitted, Job, fit_all
from analyses.future_lens.baselines import baseline_rows
from analyses.future_lens.tables import EMBED, EMBEDDING, LENS, TEXTS, ahead_table, curves_table, scores_table
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.future_lens import FutureSpec
    from hooks.model import Model


def run_future(model: Model, inputs: Inputs, spec: FutureSpec, context: Context) -> Frames:
    """The frames of the future lens."""
    return (_fitted if spec.lens is None else _read)(model, inputs, spec, context)


def site_of(layer: int) -> Site:
    """Where a layer's state is read: its output, or for EMBED what goes into layer 0."""
    return Site(0, "resid_pre") if layer == EMBED else Site(layer, "resid_post")


def rows_ahead(rows: Rows, texts: Texts, places: Sequence[int], spec: FutureSpec) -> Tensor:
    """Rows of these texts from which every offset can be checked: the last given token and those that were written.

    With `continuation given`, every token but the first of a text. The same rows serve all offsets.
    """
    own = torch.isin(rows.text, torch.tensor(sorted(places), dtype=torch.int64))
    lengths = torch.tensor([len(ids) for ids in texts.ids])[rows.text]
    greedy = spec.continuation == "greedy"
    first = lengths - 1 if greedy else torch.ones_like(lengths)
    last = lengths + (spec.new if greedy else 0) - spec.ahead
    return torch.nonzero(own & (rows.position >= first) & (rows.position <= last))[:, 0]


def _jobs(rows: Rows, texts: Texts, layers: Sequence[int], spec: FutureSpec) -> list[Job]:
    which = [rows_ahead(rows, texts, one, spec) for one in (texts.fitted, texts.checked, texts.tested)]

    def data(layer: int, offset: int) -> Data:
        x = rows.states[site_of(layer)]
        base = x if spec.start == "identity" and spec.lens is None else torch.zeros_like(rows.finals)
        return Data(x, base, rows.finals.roll(1 - offset, dims=0), rows.text, *which)

    return [Job((layer, offset), {"layer": layer, "offset": offset}, partial(data, layer, offset))
            for layer in layers for offset in range(1, spec.ahead + 1)]  # fmt: skip


def _read_texts(model: Model, texts: Texts, layers: Sequence[int], spec: FutureSpec, context: Context) -> Rows:
    new = spec.new if spec.continuation == "greedy" else 0
    return read_rows(model, texts.ids, [site_of(layer) for layer in layers], partial(while_reading, context), new)


def _fitted(model: Model, inputs: Inputs, spec: FutureSpec, context: Context) -> Frames:
    layers, readout = [EMBED, *layers_to_fit(model, spec.layers, 0)], Readout.of(model)
    texts = texts_to_fit(model, inputs, spec, context)
    rows = _read_texts(model, texts, layers, spec, context)
    jobs = _jobs(rows, texts, layers, spec)
    fitted, tested = (rows_ahead(rows, texts, one, spec) for one in (texts.fitted, texts.tested))
    if not len(fitted) or not len(tested):
        raise InputError(f"no text is long enough to look {spec.ahead} tokens ahead: give longer ones, or fewer tokens")
    found = fit_all(jobs, readout, spec, context, READ)
    whole = {key: _whole(one, spec.start) for key, one in found.lenses.items()}
    if spec.keep_as is not None:
        settings = {"start": spec.start, "steps": spec.steps, "continuation": spec.continuation}
        kept = {key: one for key, one in whole.items() if key[0] != EMBED}
        meta = meta_of(model, "resid_post", texts, len(fitted), settings)
        context.keep(spec.keep_as, "future_lens", tensors_of(kept), meta)
    scored = [_scores(readout, jobs, found, context), baseline_rows(readout, rows, fitted, tested, spec.ahead)]
    about = {"lens": "fitted here", "model": model.identity.name, "origin": texts.origin,
             "fitted_texts": len(texts.fitted), "fitted_positions": len(fitted),
             "scored": _scored("held-out texts", spec), "seen": 0}  # fmt: skip
    ids = texts.ids[texts.tested[0]] if inputs.prompt is None else model.encode(inputs.prompt)
    lenses = {key: one for key, one in whole.items() if key[0] != EMBED}
    return _frames(model, readout, scored, found.curves, about, lenses, ids, spec, inputs)


def _read(model: Model, inputs: Inputs, spec: FutureSpec, context: Context) -> Frames:
    width = model.geometry.d_model
    kept = context.use("lens")
    lenses = chosen(kept, lenses_of(model, kept, (width, width)), spec.layers)
    most = max(key[1] for key in lenses)
    if spec.ahead > most:
        raise InputError(f"option ahead = {spec.ahead}: lens {kept.name!r} looks at most {most} tokens ahead")
    prompt = None if inputs.prompt is None else tuple(model.encode(inputs.prompt))
    given = given_texts(model, inputs, spec.length) if prompt is None else Texts((prompt,), ("",), "prompt")
    if not given.ids:
        raise InputError("no text has the four tokens that a lens is scored on: give longer texts")
    texts = Texts(given.ids, given.kinds, given.origin, tested=tuple(range(len(given.ids))))
    readout, layers = Readout.of(model), sorted({key[0] for key in lenses})
    rows = _read_texts(model, texts, layers, spec, context)
    jobs = _jobs(rows, texts, layers, spec)
    if not len(rows_ahead(rows, texts, texts.tested, spec)):
        raise InputError(f"no text is long enough to look {spec.ahead} tokens ahead: give longer ones, or fewer tokens")
    scored = [_scores(readout, jobs, Fitted(lenses, {}, pd.DataFrame()), context)]
    meta = kept.meta
    about = {"lens": kept.name, "model": model.identity.name, "origin": meta["origin"],
             "fitted_texts": meta["fitted_texts"], "fitted_positions": meta["fitted_positions"],
             "scored": _scored("texts" if prompt is None else "the prompt", spec),
             "seen": seen_among(kept, texts.marks(texts.tested))}  # fmt: skip
    return _frames(model, readout, scored, None, about, lenses, texts.ids[0], spec, inputs)


def _scored(what: str, spec: FutureSpec) -> str:
    return f"{what}, continued greedily" if spec.continuation == "greedy" else what


def _whole(lens: Affine, start: str) -> Affine:
    """The map by itself: where it was fitted around the state, the state is part of it."""
    if start != "identity":
        return lens
    return Affine(lens.weight + torch.eye(len(lens.weight), device=lens.weight.device), lens.bias)


def _scores(readout: Readout, jobs: Sequence[Job], found: Fitted, context: Context) -> pd.DataFrame:
    """`TEXTS` of the fitted maps."""
    parts = []
    for index, job in enumerate(jobs):
        context.progress(0.9 + 0.1 * index / len(jobs), f"testing {job.name}")
        data = job.data()
        base, x, finals = data.at(data.tested)
        name = EMBEDDING if job.key[0] == EMBED else LENS
        states = found.lenses[job.key](base, x)
        parts.append(score(readout, states, finals, data.text[data.tested], name, job.columns))
    return pd.concat(parts, ignore_index=True).rename(columns={"agreement": "precision"})[TEXTS]


def _frames(
    model: Model, readout: Readout, scored: list[pd.DataFrame], curves: pd.DataFrame | None, about: dict[str, Any],
    lenses: Mapping[Key, Affine], ids: Sequence[int], spec: FutureSpec, inputs: Inputs,
) -> Frames:  # fmt: skip
    layers = sorted({key[0] for key in lenses})
    rows = read_rows(model, [ids], [site_of(layer) for layer in layers], lambda *_: None, spec.ahead)
    what = "the prompt" if inputs.prompt is not None else "the beginning of a text that was not fitted on"
    what = what if spec.lens is None or inputs.prompt is not None else "the beginning of the first text"
    texts = pd.concat(scored, ignore_index=True)
    return {
        "scores": scores_table(texts),
        "texts": texts.assign(layer=texts["layer"].astype("Int64").mask(texts["layer"] == EMBED)),
        "curves": curves_table(curves),
        "ahead": ahead_table(model, readout, ids, rows, lenses, spec.ahead),
        "about": pd.DataFrame([about | {"pictured": what}]),
    }
