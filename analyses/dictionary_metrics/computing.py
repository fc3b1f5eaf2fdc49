"""All measures of the dictionaries of one artifact over one text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.at_hand import at_hand
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.quality import Quality, quality
from analyses.dictionary_metrics.crossing import measure_crossing
from analyses.dictionary_metrics.letters import LetterFound, first_letters
from analyses.dictionary_metrics.losses import Losses, Making, entropy_recovered, measured
from analyses.dictionary_metrics.reporting import (
    ABLATED,
    DICTIONARY,
    Progress,
    densities_rows,
    letter_row,
    losses_rows,
    named,
    summary_row,
)
from analyses.dictionary_metrics.tables import table
from analyses.dictionary_metrics.words import read_words, vocabulary_words, words_of
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.dictionary_metrics import MetricsSpec
    from hooks.model import Model

MADE, READ = 0.3, 0.45
"""Shares of the progress until a dictionary and a text are there, and until activations are read."""
PARTS = 5
"""Prefixes of a dictionary that was not trained with nested ones: the whole and its halvings."""


def measure_all(model: Model, inputs: Inputs, spec: MetricsSpec, context: Context) -> Frames:
    """Every measure of every dictionary that is asked for."""

    def early(found: tuple[Placed, ...], _revision: str) -> None:
        _chosen(found, spec.layers)

    given = at_hand(model, inputs, spec, context, MADE, early)
    # a cross-layer set needs all of its layers, whichever of them are told of
    chosen = list(given.placed) if given.crossing is not None else _chosen(given.placed, spec.layers)
    sites = [site for one in chosen for site in (one.reads, one.writes)]
    texts = list(given.texts)
    read = harvest(model, given.corpus, sites, _within(context.progress, MADE, READ), texts)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
    lossy = [texts[place] for place in sorted(order[: spec.loss_texts])]
    ids = [given.corpus.ids[one] for one in lossy]
    documents = given.corpus.document_of(torch.tensor(lossy)).tolist()
    about = {"dictionary": given.name, "text": given.words, "ablation": spec.ablation}
    if given.crossing is not None:
        told = _within(context.progress, READ, 1.0)
        frames = measure_crossing(model, given.crossing, read.values, ids, documents, spec, told)
        return {"about": table("about", [about])} | frames
    rows: dict[str, list[pd.DataFrame]] = {}
    for place, one in enumerate(chosen):
        step = (1 - READ) / len(chosen)
        told = _within(context.progress, READ + place * step, READ + (place + 1) * step)
        frames = _measure(model, one, read.values[one.reads], read.values[one.writes], (ids, documents), spec, told)
        for name, frame in frames.items():
            rows.setdefault(name, []).append(frame)
    return {"about": table("about", [about])} | {
        name: pd.concat(parts, ignore_index=True) for name, parts in rows.items()
    }


def _chosen(found: tuple[Placed, ...], layers: tuple[int, ...]) -> list[Placed]:
    known = [one.reads.layer for one in found]
    if wrong := [one for one in layers if one not in known]:
        raise InputError(
            f"option layers = {wrong[0]}: the dictionary has layers {', '.join(str(one) for one in known)}"
        )
    return [one for one in found if not layers or one.reads.layer in layers]


def _measure(
    model: Model, placed: Placed, x: Tensor, y: Tensor, texts: tuple[list[tuple[int, ...]], list[int]],
    spec: MetricsSpec, told: Progress,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """`texts`: token ids, and the document of each."""
    dictionary, layer = placed.dictionary, -1 if placed.reads.layer is None else placed.reads.layer
    found = quality(dictionary, x, y)
    ends = dictionary.prefixes or _halvings(dictionary.d_sae)
    shorter = {end: dictionary.prefix(end) for end in ends if end < dictionary.d_sae}
    arms = _arms(placed, y, spec, shorter)
    losses = measured(model, [placed.reads, placed.writes], *texts, arms, _within(told, 0.1, 0.7))
    densities, neighbour = densities_rows(layer, found, dictionary.directions, spec.draw_seed)
    letters = _letters(model, placed, spec, _within(told, 0.7, 1.0))
    where = {"layer": layer, "reads": placed.reads.name, "writes": placed.writes.name, "latents": dictionary.d_sae}
    return {
        "summary": summary_row(where, found, losses, neighbour, (DICTIONARY, ABLATED)),
        "losses": losses_rows(layer, losses, {one: one for one in arms}),
        "densities": densities,
        "prefixes": _prefixes(layer, dictionary, shorter, x, y, found, losses),
        "letters": table("letters", [letter_row(layer, one, spec.least_f1) for one in letters]),
    }


def _arms(placed: Placed, y: Tensor, spec: MetricsSpec, shorter: dict[int, Dictionary]) -> dict[str, Making]:
    dictionary, reads, writes = placed.dictionary, placed.reads, placed.writes
    nothing = torch.zeros(dictionary.d_out) if spec.ablation == "zero" else y.mean(dim=0)

    def made(one: Dictionary) -> Making:
        return lambda read: {writes: one.reconstruct(read[reads])}

    arms: dict[str, Making] = {
        DICTIONARY: made(dictionary),
        ABLATED: lambda read: {writes: nothing.to(read[reads]).expand(len(read[reads]), -1)},
    }
    return arms | ({f"prefix {end}": made(one) for end, one in shorter.items()} if spec.prefix_losses else {})


def _prefixes(
    layer: int, dictionary: Dictionary, shorter: dict[int, Dictionary], x: Tensor, y: Tensor, whole: Quality,
    losses: Losses,
) -> pd.DataFrame:  # fmt: skip
    rows = []
    for end, one in {**shorter, dictionary.d_sae: dictionary}.items():
        found = whole if one is dictionary else quality(one, x, y)
        arm = DICTIONARY if one is dictionary else f"prefix {end}"
        recovered = entropy_recovered(losses, arm, ABLATED) if arm in losses.entropies else (np.nan, np.nan, np.nan)
        told = {"layer": layer, "latents": end, "nested": end in dictionary.prefixes}
        rows.append(told | {"explained": found.explained, "active": found.active} | named("ce_recovered", recovered))
    return table("prefixes", rows)


def _halvings(latents: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, latents >> shift) for shift in range(PARTS)}))


def _letters(model: Model, placed: Placed, spec: MetricsSpec, told: Progress) -> list[LetterFound]:
    chosen = vocabulary_words(model, spec.words, spec.draw_seed) if spec.words else []
    if len(chosen) < 2:
        return []
    values = read_words(model, chosen, [placed.reads, placed.writes], _within(told, 0.0, 0.6))
    words = words_of(chosen, values[placed.reads], values[placed.writes], spec.draw_seed)
    return first_letters(placed.dictionary, words, spec.least_f1, _within(told, 0.6, 1.0))


def _within(progress: Progress, first: float, last: float) -> Progress:
    return lambda share, words: progress(first + (last - first) * share, words)
