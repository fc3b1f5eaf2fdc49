"""The tables of activation patching: what the pairs were, and every cell's mean, interval and effect over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses._contract import Column
from analyses._patching import METRIC_UNITS, Runs
from analyses._stats import bootstrap_mean, excludes_zero
from hooks.pairs import AlignedPair

if TYPE_CHECKING:
    from hooks.model import Model

KEYS = ["site", "layer", "head", "position"]


def describe(index: int, runs: Runs) -> dict[str, Any]:
    """One row of the `pairs` frame: the pair and its metrics in the three unpatched runs."""
    pair = runs.aligned.pair
    row: dict[str, Any] = {"pair": index, "clean": pair.clean, "corrupted": pair.corrupted}
    row |= {"answer": pair.answer, "distractor": pair.distractor, "tokens": len(runs.aligned.clean_ids)}
    for name in ("logit_diff", "target_log_prob", "kl"):
        row |= {f"clean_{name}": runs.clean[name], f"corrupted_{name}": runs.corrupted[name]}
        row[f"unpatched_{name}"] = runs.base[name]
    row["unpatched_recovery"] = float(runs.base is runs.clean)
    return row


def position_labels(model: Model, aligned: list[AlignedPair]) -> dict[int, str]:
    """A label for each compared position: the token, `clean→corrupted` where the two differ, "" when prompts differ."""
    clean, corrupted = (
        [model.str_tokens(getattr(a, side)) for a in aligned] for side in ("clean_ids", "corrupted_ids")
    )
    lengths = {len(tokens) for tokens in clean}
    places = range(max(lengths)) if len(lengths) == 1 else range(-min(lengths), 0)
    labels = {}
    for place in places:
        ways = {(c[place], d[place]) for c, d in zip(clean, corrupted, strict=True)}
        one = next(iter(ways)) if len(ways) == 1 else ("", "")
        labels[place] = one[0] if one[0] == one[1] else f"{one[0]}→{one[1]}"
    return labels


def aggregate(values: pd.DataFrame, pairs: pd.DataFrame, tokens: dict[int, str]) -> pd.DataFrame:
    """Mean, interval and effect (patched − unpatched) of every cell and metric over the pairs."""
    table = values.copy()
    if min(tokens) < 0:
        has_place = ~table["site"].isin(["z"])
        table.loc[has_place, "position"] -= table["pair"].map(pairs["tokens"])[has_place]
        table = table[~has_place | (table["position"] >= min(tokens))]
    wide = table.set_index([*KEYS, "pair"]).sort_index()
    cells = pd.MultiIndex.from_frame(wide.index.to_frame(index=False)[KEYS].drop_duplicates())
    frames = []
    for metric, unit in METRIC_UNITS.items():
        matrix = wide[metric].unstack("pair").loc[cells].to_numpy().T
        effects = matrix - pairs[f"unpatched_{metric}"].to_numpy()[:, None]
        frame = cells.to_frame(index=False).assign(metric=metric, unit=unit)
        frame["value"], frame["low"], frame["high"] = bootstrap_mean(matrix)
        frame["effect"], frame["effect_low"], frame["effect_high"] = bootstrap_mean(effects)
        frame["distinguishable"] = excludes_zero(frame["effect_low"].to_numpy(), frame["effect_high"].to_numpy())
        frames.append(frame)
    result = pd.concat(frames, ignore_index=True)
    by_head = result["site"].eq("z").to_numpy()
    labels = result["position"].map(tokens).where(~by_head, "").fillna("")
    result.insert(4, "token", labels)
    result["pairs"] = len(pairs)
    return result


CELL_COLUMNS = (
    Column("site", "", "what was patched"),
    Column("layer", "", "layer, from 0"),
    Column("head", "", "head, or -1 where the site has none"),
    Column("position", "", "token position; negative counts from the end; -1 for all positions when site is z"),
    Column("token", "", "the token there, clean→corrupted where they differ"),
    Column("metric", "", "recovery, logit_diff, target_log_prob or kl"),
    Column("unit", "", "the metric's unit"),
    Column("value", "metric", "mean over pairs of the patched run's metric"),
    Column("low", "metric", "lower end of its 95% bootstrap interval over pairs; NaN for one pair"),
    Column("high", "metric", "upper end"),
    Column("effect", "metric", "mean over pairs of patched − unpatched"),
    Column("effect_low", "metric", "lower end of its 95% interval"),
    Column("effect_high", "metric", "upper end"),
    Column("distinguishable", "", "whether that interval excludes zero; False for one pair"),
    Column("pairs", "count", "pairs behind the row"),
)
_RUN_COLUMNS = tuple(
    Column(f"{run}_{name}", METRIC_UNITS[name], f"{name} of the {run} run")
    for name in ("logit_diff", "target_log_prob", "kl")
    for run in ("clean", "corrupted", "unpatched")
)
COLUMNS = {
    "cells": CELL_COLUMNS,
    "pairs": (
        Column("pair", "", "pair number"),
        Column("clean", "", "clean prompt"),
        Column("corrupted", "", "corrupted prompt"),
        Column("answer", "", "right token for clean"),
        Column("distractor", "", "right token for corrupted"),
        Column("tokens", "count", "tokens of each prompt"),
        *_RUN_COLUMNS,
        Column("unpatched_recovery", "fraction", "0 for denoising, 1 for noising"),
    ),
    "values": (
        Column("pair", "", "pair number"),
        *CELL_COLUMNS[:4],
        *(Column(name, unit, f"{name} of the patched run") for name, unit in METRIC_UNITS.items()),
    ),
}
