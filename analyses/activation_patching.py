"""Activation patching: which activations carry what decides the answer?

Two prompts differ where the answer is decided. One activation of one run is put in place of the same activation of the
other, and the answer is measured: *denoising* puts clean activations into the corrupted run (what suffices to
restore the answer), *noising* corrupted ones into the clean run (what is needed for it).

Source: Vig et al. 2020 (causal mediation), Meng et al. 2022 (causal tracing), Wang et al. 2022 (IOI); signs and good
practice after Heimersheim and Nanda 2024, "How to use and interpret activation patching".

Ours: prompts of a set are compared at equal positions when all have equally many tokens, otherwise at equal distance
from the last token; KL is from the clean distribution in both directions; intervals resample prompts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd
import plotly.graph_objects as go
import torch
from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses._patching import METRIC_UNITS, Runs, SiteName, cells_of, read_pair, sweep_frame
from analyses._patching_figures import figures
from analyses._patching_table import COLUMNS, KEYS, aggregate, describe, position_labels
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.pairs import align
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


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
    hide_uncertain: bool = shown(False, description="over a set: grey out cells whose 95% interval includes no effect")


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
        described.append(describe(index, runs))
        compute = partial(_pair_frame, model, runs, spec, layers, context, index, len(aligned))
        frame = context.part(f"pair {index}", compute)
        raw.append(frame.assign(pair=index))
    values = pd.concat(raw, ignore_index=True)
    values = values[["pair", *KEYS, *METRIC_UNITS]]
    pairs = pd.DataFrame(described)
    return {"cells": aggregate(values, pairs, position_labels(model, aligned)), "pairs": pairs, "values": values}


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
            f"recovery is undefined: clean {pair.clean!r} and corrupted {pair.corrupted!r} give the same logit "
            f"difference (apart by {gap:.2g}); choose a corruption that changes the answer"
        )


def _pair_frame(
    model: Model, runs: Runs, spec: PatchingSpec, layers: list[int], context: Context, index: int, total: int
) -> pd.DataFrame:
    positions = range(runs.base_ids.shape[1])
    cells = [cell for site in spec.sites for cell in cells_of(model, runs, site, layers, positions)]
    return sweep_frame(
        model,
        runs,
        cells,
        lambda f, label: context.progress((index + f) / total, f"pair {index + 1} of {total}, {label}"),
    )


def patched_top_tokens(
    model: Model, inputs: Inputs, spec: PatchingSpec, site: Site, pair: int = 0, k: int = 10
) -> pd.DataFrame:
    """What one patch does to the next-token distribution of one pair.

    Returns a frame (token, token_id, clean, corrupted, patched) of probabilities, for the union of the three top k.
    """
    aligned = align(model, inputs.pairs[pair])
    clean, corrupted = (torch.tensor([ids]) for ids in (aligned.clean_ids, aligned.corrupted_ids))
    source, base = (clean, corrupted) if spec.direction == "denoising" else (corrupted, clean)
    patch = Patch(site, run_with_cache(model, source, [site], last_only=True)[site])
    runs = {"clean": (clean, ()), "corrupted": (corrupted, ()), "patched": (base, (patch,))}
    probability = {
        n: model.logits(ids, how, last_only=True)[0, -1].float().softmax(-1) for n, (ids, how) in runs.items()
    }
    union = torch.unique(torch.cat([p.topk(min(k, len(p))).indices for p in probability.values()]))
    frame = pd.DataFrame({"token": model.str_tokens(union.tolist()), "token_id": union.numpy()})
    for name, p in probability.items():
        frame[name] = p[union].double().cpu().numpy()
    return frame.sort_values("patched", ascending=False, ignore_index=True)


def _figures(frames: Frames, spec: PatchingSpec) -> dict[str, go.Figure]:
    return figures(frames, metric=spec.metric, denoising=spec.direction == "denoising", hide=spec.hide_uncertain)


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
    columns=COLUMNS,
    pictures=lambda spec: tuple(dict.fromkeys(spec.sites)),
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
