"""Activation sparsity's pictures: who speaks by layer, ratio and perplexity over CETT, the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import lines
from analyses.activation_sparsity.tables import RANDOM, THRESHOLDS, TOP

if TYPE_CHECKING:
    from analyses.activation_sparsity import SparsitySpec

NAMES = ("layers", "ratio", "perplexity", "baselines")


def names(_spec: SparsitySpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return NAMES


def figures(frames: Frames, _spec: SparsitySpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    return {"layers": _layers(frames), "ratio": _ratio(frames), "perplexity": _perplexity(frames),
            "baselines": _baselines(frames)}  # fmt: skip


def _split(frames: Frames) -> str:
    row = frames["verdict"].iloc[0]
    texts = f"{row['fitted_texts']} text{'s' if row['fitted_texts'] > 1 else ''}"
    return f"Thresholds from {texts}, {row['tokens']} tokens; {row['held_out_texts']} held out"


def _layers(frames: Frames) -> go.Figure:
    table = frames["layers"]
    band = ". Band: 95% over texts" if table["low"].notna().any() else ""
    return lines(
        table, x="layer", y="ratio", low="low", high="high", title="Neurons that speak, by layer", x_title="layer",
        y_title="share of neurons (held out)",
        legend=f"{frames['verdict']['statement'].iloc[0]}{band}",
    )  # fmt: skip


def _ratio(frames: Frames) -> go.Figure:
    return lines(
        frames["curve"], x="cett", y="ratio", title="Neurons that speak, over the error allowed",
        x_title="CETT: share of the MLP's output that is dropped", y_title="share of neurons (held out)",
        legend=f"Mean over layers; each layer's threshold gives the same CETT. {_split(frames)}",
    )  # fmt: skip


def _perplexity(frames: Frames) -> go.Figure:
    curve, row = frames["curve"], frames["verdict"].iloc[0]
    sides = {f"texts of the thresholds ({row['fitted_texts']})": "fitted",
             f"held-out texts ({row['held_out_texts']})": "held_out"}  # fmt: skip
    table = pd.concat([
        curve[["cett"]].assign(perplexity=curve[f"{side}_perplexity"], texts=name) for name, side in sides.items()
    ])  # fmt: skip
    figure = lines(
        table, x="cett", y="perplexity", group="texts", title="Perplexity, over the error allowed",
        x_title="CETT: share of the MLP's output that is dropped", y_title="perplexity (log scale)",
        legend=f"{_split(frames)}. The two differ at CETT 0 because their texts do",
    )  # fmt: skip
    figure.update_yaxes(type="log")
    return figure


def _baselines(frames: Frames) -> go.Figure:
    curve, arms = frames["curve"], frames["arms"].set_index("arm")[["ratio", "perplexity", "rise"]]
    columns = {THRESHOLDS: "held_out_perplexity", TOP: "largest_perplexity", RANDOM: "random_perplexity"}
    parts = []
    for arm, column in columns.items():
        here = pd.DataFrame({"ratio": curve["ratio"], "perplexity": curve[column], "arm": arm}).iloc[1:]
        parts.append(pd.concat([here, arms.loc[[arm], ["ratio", "perplexity"]].assign(arm=arm)]))
    table = pd.concat(parts, ignore_index=True)
    change = np.log(table["perplexity"]) - np.log(curve["held_out_perplexity"].iloc[0])
    # A logarithm shows small costs beside those of random neurons; where some cost nothing it cannot be had.
    log = bool((change > 0).all())
    rises, share = arms["rise"].to_dict(), arms["ratio"].to_dict()[THRESHOLDS]
    told = "; ".join(f"{arm} {rises[arm]:+,.{0 if rises[arm] > 100 else 1}f}%" for arm in columns).replace("-", "−")
    figure = lines(
        table.assign(change=change), x="ratio", y="change", group="arm", x_title="share of neurons",
        title="What it costs that the others are silent, by who may speak",
        y_title=f"loss − dense loss (nats{', log scale' if log else ''})",
        legend=f"{_split(frames)}, drawn here. Rise of perplexity at {share:.1%}: {told}",
    )  # fmt: skip
    if log:
        figure.update_yaxes(type="log", dtick=1)
    return figure
