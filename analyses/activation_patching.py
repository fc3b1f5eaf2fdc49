"""Activation patching: which activations carry what decides the answer?

Two prompts differ where the answer is decided. One activation of one run is put in place of the same activation of the
other, and the answer is measured: *denoising* puts clean activations into the corrupted run (what suffices to restore the
answer), *noising* corrupted ones into the clean run (what is needed for it).

Source: Vig et al. 2020 (causal mediation), Meng et al. 2022 (causal tracing), Wang et al. 2022 (IOI); signs and good
practice after Heimersheim and Nanda 2024, "How to use and interpret activation patching".

Ours: prompts of a set are compared at equal positions when all have equally many tokens, otherwise at equal distance from
the last token; KL is from the clean distribution in both directions; intervals resample prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from pydantic import Field

from analyses._contract import Analysis, Column, Context, Frames, Inputs, Spec, shown
from analyses._patching import METRIC_UNITS, Runs, SiteName, cells_of, read_pair, sweep_frame
from analyses._patching_figures import figures
from analyses._stats import bootstrap_mean, excludes_zero
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.pairs import AlignedPair, align
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

_KEYS = ["site", "layer", "head", "position"]


class PatchingSpec(Spec):
    """Options of activation patching."""

    sites: tuple[SiteName, ...] = Field(
        ("resid_pre",),
        min_length=1,
        description="what is patched: residual stream and sublayer outputs by layer × position, head outputs (z) by "
        "layer × head, or also by position",
    )
    direction: Literal["denoising", "noising"] = Field(
        "denoising", description="denoising: clean into corrupted; noising: corrupted into clean"
    )
    layers: tuple[int, ...] = Field((), description="layers to patch; none given means all")
    metric: Literal["recovery", "logit_diff", "target_log_prob", "kl"] = shown(
        "recovery", description="which metric the figures colour"
    )
    hide_uncertain: bool = shown(
        False, description="over a set: grey out cells whose 95% interval includes no effect"
    )


def run(model: Model, inputs: Inputs, spec: PatchingSpec, context: Context) -> Frames:
    """Patch every cell for every pair; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a pair that does not align, or whose clean and corrupted logit differences are equal.
    """
    aligned = [align(model, pair) for pair in inputs.pairs]
    layers = _layers(model, spec)
    raw, described = [], []
    for index, pair in enumerate(aligned):
        runs = read_pair(model, pair, spec.sites, layers, spec.direction == "denoising")
        _refuse_no_gap(runs)
        described.append(_describe(index, runs))
        frame = context.part(f"pair {index}", lambda i=index, r=runs: _pair_frame(model, r, spec, layers, context, i, len(aligned)))
        raw.append(frame.assign(pair=index))
    values = pd.concat(raw, ignore_index=True)
    values = values[["pair", *_KEYS, *METRIC_UNITS]]
    pairs = pd.DataFrame(described)
    return {"cells": _aggregate(values, pairs, _tokens(model, aligned)), "pairs": pairs, "values": values}


def _layers(model: Model, spec: PatchingSpec) -> list[int]:
    last = model.geometry.n_layers - 1
    for layer in spec.layers:
        if not 0 <= layer <= last:
            raise InputError(f"layer {layer} does not exist: valid layers are 0 to {last}")
    if "resid_mid" in spec.sites:
        Site(0, "resid_mid").check(model.geometry)
    return list(dict.fromkeys(spec.layers)) or list(range(model.geometry.n_layers))


def _refuse_no_gap(runs: Runs) -> None:
    gap = runs.clean["logit_diff"] - runs.corrupted["logit_diff"]
    if not abs(gap) > 1e-3:
        pair = runs.aligned.pair
        raise InputError(
            f"recovery is undefined: clean {pair.clean!r} and corrupted {pair.corrupted!r} give the same logit difference "
            f"(apart by {gap:.2g}); choose a corruption that changes the answer"
        )


def _pair_frame(
    model: Model, runs: Runs, spec: PatchingSpec, layers: list[int], context: Context, index: int, total: int
) -> pd.DataFrame:
    positions = range(runs.base_ids.shape[1])
    cells = [cell for site in spec.sites for cell in cells_of(model, runs, site, layers, positions)]
    return sweep_frame(
        model, runs, cells, lambda f, label: context.progress((index + f) / total, f"pair {index + 1} of {total}, {label}")
    )


def _describe(index: int, runs: Runs) -> dict[str, Any]:
    pair = runs.aligned.pair
    row: dict[str, Any] = {"pair": index, "clean": pair.clean, "corrupted": pair.corrupted}
    row |= {"answer": pair.answer, "distractor": pair.distractor, "tokens": len(runs.aligned.clean_ids)}
    for name in ("logit_diff", "target_log_prob", "kl"):
        row |= {f"clean_{name}": runs.clean[name], f"corrupted_{name}": runs.corrupted[name]}
        row[f"unpatched_{name}"] = runs.base[name]
    row["unpatched_recovery"] = float(runs.base is runs.clean)
    return row


def _tokens(model: Model, aligned: list[AlignedPair]) -> dict[int, str]:
    """A label for each compared position: the token, `clean→corrupted` where the two differ, "" when prompts differ."""
    clean, corrupted = ([model.str_tokens(getattr(a, side)) for a in aligned] for side in ("clean_ids", "corrupted_ids"))
    lengths = {len(tokens) for tokens in clean}
    places = range(max(lengths)) if len(lengths) == 1 else range(-min(lengths), 0)
    labels = {}
    for place in places:
        ways = {(c[place], d[place]) for c, d in zip(clean, corrupted, strict=True)}
        one = next(iter(ways)) if len(ways) == 1 else ("", "")
        labels[place] = one[0] if one[0] == one[1] else f"{one[0]}→{one[1]}"
    return labels


def _aggregate(values: pd.DataFrame, pairs: pd.DataFrame, tokens: dict[int, str]) -> pd.DataFrame:
    """Mean, interval and effect (patched − unpatched) of every cell and metric over the pairs."""
    table = values.copy()
    if min(tokens) < 0:
        has_place = ~table["site"].isin(["z"])
        table.loc[has_place, "position"] -= table["pair"].map(pairs["tokens"])[has_place]
        table = table[~has_place | (table["position"] >= min(tokens))]
    wide = table.set_index([*_KEYS, "pair"]).sort_index()
    cells = wide.index.droplevel("pair").unique()
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


def patched_top_tokens(
    model: Model, inputs: Inputs, spec: PatchingSpec, site: Site, pair: int = 0, k: int = 10
) -> pd.DataFrame:
    """What one patch does to the next-token distribution of one pair.

    Returns a frame (token, token_id, clean, corrupted, patched) of probabilities for the union of the three runs' top k.
    """
    aligned = align(model, inputs.pairs[pair])
    clean, corrupted = (torch.tensor([ids]) for ids in (aligned.clean_ids, aligned.corrupted_ids))
    source, base = (clean, corrupted) if spec.direction == "denoising" else (corrupted, clean)
    patch = Patch(site, run_with_cache(model, source, [site], last_only=True)[site])
    runs = {"clean": (clean, ()), "corrupted": (corrupted, ()), "patched": (base, (patch,))}
    probability = {n: model.logits(ids, how, last_only=True)[0, -1].float().softmax(-1) for n, (ids, how) in runs.items()}
    union = torch.unique(torch.cat([p.topk(min(k, len(p))).indices for p in probability.values()]))
    frame = pd.DataFrame({"token": model.str_tokens(union.tolist()), "token_id": union.numpy()})
    for name, p in probability.items():
        frame[name] = p[union].double().cpu().numpy()
    return frame.sort_values("patched", ascending=False, ignore_index=True)


def _figures(frames: Frames, spec: PatchingSpec) -> dict[str, go.Figure]:
    return figures(frames, metric=spec.metric, denoising=spec.direction == "denoising", hide=spec.hide_uncertain)


_CELL_COLUMNS = (
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
ANALYSIS = Analysis(
    name="activation_patching",
    title="Activation patching",
    question="Which activations carry what decides the answer?",
    meaning="Each cell is one run with one activation replaced; colour is how far that alone moves the answer.",
    paper="Vig et al. 2020; Meng et al. 2022; Wang et al. 2022; Heimersheim and Nanda 2024",
    needs=("pair", "pairs"),
    spec=PatchingSpec,
    run=run,
    figures=_figures,
    columns={
        "cells": _CELL_COLUMNS,
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
            *_CELL_COLUMNS[:4],
            *(Column(name, unit, f"{name} of the patched run") for name, unit in METRIC_UNITS.items()),
        ),
    },
    example={
        "pairs": [
            {
                "clean": "When John and Mary went to the store, John gave a drink to",
                "corrupted": "When John and Mary went to the store, Mary gave a drink to",
                "answer": " Mary",
                "distractor": " John",
            }
        ],
        "spec": {"sites": ["resid_pre"]},
    },
)
_ = np
