"""Figures of information flow: the routes, the tokens that they begin at, the heads on them, the prediction's rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._graphs import drawn
from analyses._plots import bars, glyphs, graph, lines, sequential_heatmap, token_labels
from analyses.information_flow.drawing import graph_frames
from analyses.information_flow.tables import KINDS

if TYPE_CHECKING:
    from analyses.information_flow import FlowSpec

PICTURES = ("routes", "tokens", "heads", "rank")
FLOW = "share of the prediction"
WEIGHTS = {"flow": "share of the prediction that runs along it", "share": "share of the lower node in the upper one"}


def figures(frames: Frames, spec: FlowSpec) -> dict[str, go.Figure]:
    """The pictures, from the frames alone."""
    said = frames["prediction"].iloc[0]
    about = f"for {glyphs(str(said['token']))} (p = {said['probability']:.2f})"
    return {
        "routes": _routes(frames, spec, about),
        "tokens": _tokens(frames, about),
        "heads": _heads(frames, about),
        "rank": _ranks(frames, about),
    }


def _routes(frames: Frames, spec: FlowSpec, about: str) -> go.Figure:
    said = frames["prediction"].iloc[0]
    named = (spec.focus, *spec.pinned)
    whole = graph_frames(frames, by_flow=spec.edge_weight == "flow", chains=spec.chains, keep=named)
    kept, edges, note = drawn(*whole, spec)
    layers = range(int(said["layers"]))
    steps = [name for n in layers for name in ([str(n)] if said["parallel"] else [f"{n} attn", str(n)])]
    parts = "parts" if spec.renormalise else "sums over heads"
    lost = f"; {said['ended']} nodes end: no part of theirs is above it" if said["ended"] else ""
    joined = "" if spec.chains else "; stretches of residual stream alone are one edge"
    return graph(
        kept, edges, title=f"Routes of the information, {about}", focus=spec.focus,
        x_labels=token_labels(frames["tokens"]["token"].tolist()), y_labels=["embed", *steps],
        x_title="token", y_title="layer", value_title=FLOW, weight_title=WEIGHTS[spec.edge_weight],
        legend=f"{parts} of at most {said['threshold']:g} left out{lost}{joined}; ▲ this block at least halves the "
        "rank of the predicted token, to under 1,000",
        note=note,
    )  # fmt: skip


def _tokens(frames: Frames, about: str) -> go.Figure:
    tokens = frames["tokens"]
    rows = tokens.assign(label=token_labels(tokens["token"].tolist()))
    return bars(rows, label="label", value="flow", title=f"Tokens that the routes begin at, {about}", unit=FLOW,
                legend="over all routes kept; the shares of a node's parts sum to 1", y_title="token")  # fmt: skip


def _heads(frames: Frames, about: str) -> go.Figure:
    heads, said = frames["heads"], frames["prediction"].iloc[0]
    layers, count = int(said["layers"]), int(said["heads"])
    values = np.zeros((layers, count))
    if len(heads):
        np.add.at(values, (heads["layer"].to_numpy(dtype=int), heads["head"].to_numpy(dtype=int)), heads["flow"])
    return sequential_heatmap(
        values, [str(n) for n in range(count)], [str(n) for n in range(layers)], unit=FLOW, x_title="head",
        y_title="layer", title=f"Heads on the routes, {about}", legend="what a head brings to its destinations, times "
        "the flow through these",
    )  # fmt: skip


def _ranks(frames: Frames, about: str) -> go.Figure:
    said = frames["prediction"].iloc[0]
    nodes = frames["nodes"]
    here = nodes[(nodes["position"] == said["position"]) & nodes["rank"].notna() & (nodes["kind"] != KINDS["F"])]
    places = here["layer"].astype(float) - np.where(here["kind"] == KINDS["A"], 0.5, 0.0)
    shown = pd.DataFrame({"layer": places, "rank": np.log10(here["rank"].astype(float) + 1), "kind": here["kind"]})
    return lines(
        shown, x="layer", y="rank", group="kind", title=f"Rank of the predicted token at the last position, {about}",
        x_title="layer (−1: embedding)", y_title="log₁₀ (1 + rank)",
        legend="0: nothing is held more likely; residuals on the routes, read after the final norm",
    )  # fmt: skip
