"""All measures of the dictionaries of one artifact over one text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.at_hand import at_hand
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.quality import Quality, quality
from analyses._stats import Estimate, mean_interval, rate_interval
from analyses.dictionary_metrics.letters import LetterFound, first_letters
from analyses.dictionary_metrics.losses import (
    Losses,
    Making,
    a_token,
    divergence_recovered,
    entropy_recovered,
    measured,
)
from analyses.dictionary_metrics.similarity import nearest_directions, random_neighbours
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
Progress = Callable[[float, str], None]


def measure_all(model: Model, inputs: Inputs, spec: MetricsSpec, context: Context) -> Frames:
    """Every measure of every dictionary that is asked for."""

    def early(found: tuple[Placed, ...], _revision: str) -> None:
        _chosen(found, spec.layers)

    given = at_hand(model, inputs, spec, context, MADE, early)
    chosen = _chosen(given.placed, spec.layers)
    sites = [site for one in chosen for site in (one.reads, one.writes)]
    texts = list(given.texts)
    read = harvest(model, given.corpus, sites, _within(context.progress, MADE, READ), texts)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
    lossy = [given.corpus.ids[texts[place]] for place in sorted(order[: spec.loss_texts])]
    rows: dict[str, list[pd.DataFrame]] = {}
    for place, one in enumerate(chosen):
        step = (1 - READ) / len(chosen)
        told = _within(context.progress, READ + place * step, READ + (place + 1) * step)
        frames = _measure(model, one, read.values[one.reads], read.values[one.writes], lossy, spec, told)
        for name, frame in frames.items():
            rows.setdefault(name, []).append(frame)
    about = {"dictionary": given.name, "text": given.words, "ablation": spec.ablation}
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
    model: Model, placed: Placed, x: Tensor, y: Tensor, texts: list[tuple[int, ...]], spec: MetricsSpec, told: Progress
) -> dict[str, pd.DataFrame]:
    dictionary, layer = placed.dictionary, -1 if placed.reads.layer is None else placed.reads.layer
    found = quality(dictionary, x, y)
    ends = dictionary.prefixes or _halvings(dictionary.d_sae)
    shorter = {end: dictionary.prefix(end) for end in ends if end < dictionary.d_sae}
    arms = _arms(dictionary, y, spec, shorter)
    losses = measured(model, placed, texts, arms, _within(told, 0.1, 0.7))
    nearest, cosine = nearest_directions(dictionary.directions)
    random = random_neighbours(dictionary.d_sae, dictionary.d_out, spec.draw_seed)
    letters = _letters(model, placed, spec, _within(told, 0.7, 1.0))
    return {
        "summary": _summary(placed, layer, found, losses, (float(cosine.median()), float(random.median()))),
        "losses": _losses(layer, losses),
        "densities": table("densities", [
            {"layer": layer, "latent": place, "density": density, "nearest": other, "cosine": near, "random": by_chance}
            for place, (density, other, near, by_chance) in enumerate(
                zip(found.density.tolist(), nearest.tolist(), cosine.tolist(), random.tolist(), strict=True))
        ]),
        "prefixes": _prefixes(layer, dictionary, shorter, x, y, found, losses),
        "letters": table("letters", [_letter(layer, one, spec.least_f1) for one in letters]),
    }  # fmt: skip


def _arms(dictionary: Dictionary, y: Tensor, spec: MetricsSpec, shorter: dict[int, Dictionary]) -> dict[str, Making]:
    nothing = torch.zeros(dictionary.d_out) if spec.ablation == "zero" else y.mean(dim=0)
    arms: dict[str, Making] = {
        "dictionary": dictionary.reconstruct,
        "ablated": lambda rows: nothing.to(rows).expand(len(rows), -1),
    }
    return arms | ({f"prefix {end}": one.reconstruct for end, one in shorter.items()} if spec.prefix_losses else {})


def _summary(
    placed: Placed, layer: int, found: Quality, losses: Losses, neighbour: tuple[float, float]
) -> pd.DataFrame:
    density = found.density
    told = {
        "layer": layer, "reads": placed.reads.name, "writes": placed.writes.name, "latents": placed.dictionary.d_sae,
        "tokens": found.rows, "active": found.active, "explained": found.explained, "cosine": found.cosine,
        "norm_ratio": found.norm_ratio, "bias": found.bias, "dead": float((density == 0).float().mean()),
        "over_1": float((density > 0.01).float().mean()), "over_10": float((density > 0.1).float().mean()),
        "neighbour": neighbour[0], "random_neighbour": neighbour[1],
        **_named("ce_recovered", entropy_recovered(losses, "dictionary", "ablated")),
        **_named("kl_recovered", divergence_recovered(losses, "dictionary", "ablated")),
    }  # fmt: skip
    return table("summary", [told])


def _losses(layer: int, losses: Losses) -> pd.DataFrame:
    shared = {"layer": layer, "texts": len(losses.clean), "predicted": int(losses.predicted.sum())}
    nothing = np.zeros_like(losses.clean)
    sums = {"unchanged": (losses.clean, nothing)}
    sums |= {arm: (one, losses.divergences[arm]) for arm, one in losses.entropies.items()}
    return table("losses", [
        {"arm": arm, **_named("ce", a_token(losses, ce)), **_named("added", a_token(losses, ce - losses.clean)),
         **_named("kl", a_token(losses, kl)), **shared}
        for arm, (ce, kl) in sums.items()
    ])  # fmt: skip


def _prefixes(
    layer: int, dictionary: Dictionary, shorter: dict[int, Dictionary], x: Tensor, y: Tensor, whole: Quality,
    losses: Losses,
) -> pd.DataFrame:  # fmt: skip
    rows = []
    for end, one in {**shorter, dictionary.d_sae: dictionary}.items():
        found = whole if one is dictionary else quality(one, x, y)
        arm = "dictionary" if one is dictionary else f"prefix {end}"
        recovered = entropy_recovered(losses, arm, "ablated") if arm in losses.entropies else (np.nan, np.nan, np.nan)
        told = {"layer": layer, "latents": end, "nested": end in dictionary.prefixes}
        rows.append(told | {"explained": found.explained, "active": found.active} | _named("ce_recovered", recovered))
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


def _letter(layer: int, one: LetterFound, least: float) -> dict[str, object]:
    hits = len(one.full)
    nothing = (np.nan, np.nan, np.nan)
    return {
        "layer": layer, "letter": one.letter, "taught": one.taught, "tested": one.tested, "f1": one.f1,
        "measured": one.f1 > least, "mains": len(one.mains), "mains_f1": one.mains_f1, "words": hits,
        **_named("full", rate_interval(int(one.full.sum()), hits) if hits else nothing),
        **_named("absorbed", _between(mean_interval(one.fraction)) if hits else nothing),
    }  # fmt: skip


def _between(estimate: Estimate) -> Estimate:
    """Of a mean of shares: its interval cut to 0…1."""
    return Estimate(estimate.value, np.clip(estimate.low, 0, 1), np.clip(estimate.high, 0, 1))


def _named(name: str, estimate: tuple[object, object, object]) -> dict[str, float]:
    value, low, high = (float(one) for one in estimate)  # type: ignore[arg-type]
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _within(progress: Progress, first: float, last: float) -> Progress:
    return lambda share, words: progress(first + (last - first) * share, words)
