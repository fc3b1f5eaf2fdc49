"""Rows of the tables: measures of one dictionary, or of one layer of a cross-layer set, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from analyses._dictionaries.quality import Quality
from analyses._stats import Estimate, mean_interval, rate_interval
from analyses.dictionary_metrics.letters import LetterFound
from analyses.dictionary_metrics.losses import Losses, a_token, divergence_recovered, entropy_recovered
from analyses.dictionary_metrics.similarity import nearest_directions, random_neighbours
from analyses.dictionary_metrics.tables import table

DICTIONARY, ABLATED, UNCHANGED = "dictionary", "ablated", "unchanged"
Progress = Callable[[float, str], None]
Where = Mapping[str, object]
"""layer, reads, writes, latents: of what a row is."""


def summary_row(
    where: Where, found: Quality, losses: Losses, neighbour: tuple[float, float], arms: tuple[str, str]
) -> pd.DataFrame:
    """`arms`: the dictionary's in `losses`, and the ablation's that it is compared with."""
    density = found.density
    told = {
        **where, "tokens": found.rows, "active": found.active, "explained": found.explained, "cosine": found.cosine,
        "norm_ratio": found.norm_ratio, "bias": found.bias, "dead": float((density == 0).float().mean()),
        "over_1": float((density > 0.01).float().mean()), "over_10": float((density > 0.1).float().mean()),
        "neighbour": neighbour[0], "random_neighbour": neighbour[1],
        **named("ce_recovered", entropy_recovered(losses, *arms)),
        **named("kl_recovered", divergence_recovered(losses, *arms)),
    }  # fmt: skip
    return table("summary", [told])


def losses_rows(layer: int, losses: Losses, arms: Mapping[str, str]) -> pd.DataFrame:
    """A row an arm; `arms` by the name in the table, the name in `losses`."""
    shared = {"layer": layer, "texts": len(losses.clean), "predicted": int(losses.predicted.sum())}
    sums = {UNCHANGED: (losses.clean, np.zeros_like(losses.clean))}
    sums |= {name: (losses.entropies[arm], losses.divergences[arm]) for name, arm in arms.items()}
    return table("losses", [
        {"arm": arm, **named("ce", a_token(losses, ce)), **named("added", a_token(losses, ce - losses.clean)),
         **named("kl", a_token(losses, kl)), **shared}
        for arm, (ce, kl) in sums.items()
    ])  # fmt: skip


def densities_rows(
    layer: int, found: Quality, directions: Tensor, seed: int
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """A row a latent; and the median cosine of a latent's direction [latent d_out] with its nearest, and by chance."""
    nearest, cosine = nearest_directions(directions)
    random = random_neighbours(len(directions), directions.shape[1], seed)
    rows = table("densities", [
        {"layer": layer, "latent": place, "density": density, "nearest": other, "cosine": near, "random": by_chance}
        for place, (density, other, near, by_chance) in enumerate(
            zip(found.density.tolist(), nearest.tolist(), cosine.tolist(), random.tolist(), strict=True))
    ])  # fmt: skip
    return rows, (float(cosine.median()), float(random.median()))


def letter_row(layer: int, one: LetterFound, least: float) -> dict[str, object]:
    """One letter; its intervals are over words."""
    hits = len(one.full)
    nothing = (np.nan, np.nan, np.nan)
    return {
        "layer": layer, "letter": one.letter, "taught": one.taught, "tested": one.tested, "f1": one.f1,
        "measured": one.f1 > least, "mains": len(one.mains), "mains_f1": one.mains_f1, "words": hits,
        **named("full", rate_interval(int(one.full.sum()), hits) if hits else nothing),
        **named("absorbed", _between(mean_interval(one.fraction)) if hits else nothing),
    }  # fmt: skip


def _between(estimate: Estimate) -> Estimate:
    """Of a mean of shares: its interval cut to 0…1."""
    return Estimate(estimate.value, np.clip(estimate.low, 0, 1), np.clip(estimate.high, 0, 1))


def named(name: str, estimate: tuple[object, object, object]) -> dict[str, float]:
    """An estimate and the ends of its interval, as columns."""
    value, low, high = (float(one) for one in estimate)  # type: ignore[arg-type]
    return {name: value, f"{name}_low": low, f"{name}_high": high}
