"""Figures of attention patterns, drawn from its frames alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import facets, fit, grid, sequential_heatmap, token_hovers, token_labels
from hooks.errors import InputError

STATISTICS = {
    "sink_mass": ("Weight on the first token", "mean weight"),
    "entropy": ("Entropy of attention", "entropy (nats)"),
    "mean_distance": ("How far back heads look", "distance (tokens)"),
    "previous_token": ("Weight on the token before", "mean weight"),
    "self_token": ("Weight on the token itself", "mean weight"),
}
FRACTIONS = ("sink_mass", "previous_token", "self_token")
LEGEND = "rows: tokens that look; columns: tokens looked at; white: after the token, never seen"


def figures(frames: Frames, *, layer: int | None, head: int, statistic: str) -> dict[str, go.Figure]:
    """All heads of one layer, one of them enlarged, and one number for every head that was read.

    Raises:
        InputError: `layer` was not read, or has no such head.
    """
    read = sorted(int(one) for one in frames["heads"]["layer"].unique())
    layer = read[0] if layer is None else layer
    if layer not in read:
        raise InputError(f"layer {layer} was not read; read: {', '.join(map(str, read))}")
    tokens = frames["tokens"]
    here = frames["patterns"][frames["patterns"]["layer"] == layer]
    panels = {int(n): _square(here[here["head"] == n], len(tokens)) for n in here["head"].unique()}
    if head not in panels:
        raise InputError(f"head {head} of layer {layer} does not exist: valid heads are 0 to {max(panels)}")
    labels = token_labels(list(tokens["token"]), list(tokens["token_id"]))
    return {
        "layer": facets(
            list(panels.values()),
            [f"L{layer}H{number}" for number in panels],
            labels,
            labels,
            title=f"Attention of layer {layer}, every head",
            unit="attention weight",
            legend=LEGEND,
            mask=_unseen(len(tokens)),
            limits=(0.0, 1.0),
        ),
        "head": _enlarged(panels[head], tokens, f"Attention of L{layer}H{head}{_group(frames['heads'], layer, head)}"),
        "overview": overview(
            frames["heads"],
            statistic,
            *STATISTICS[statistic],
            fraction=statistic in FRACTIONS,
            legend="mean over destinations from position 1 on",
        ),
    }


def _enlarged(square: np.ndarray, tokens: pd.DataFrame, title: str) -> go.Figure:
    labels = token_labels(list(tokens["token"]), list(tokens["token_id"]))
    figure = sequential_heatmap(
        square,
        labels,
        labels,
        title=title,
        x_title="source token",
        y_title="destination token",
        unit="attention weight",
        legend=LEGEND,
        mask=_unseen(len(tokens)),
        limits=(0.0, 1.0),
        upside_down=True,
        x_hover=token_hovers(list(tokens["token"]), list(tokens["token_id"])),
    )
    rules = dict(figure.layout.meta)
    # Nearer to square than the builder's rows of text height: a pattern is read along its diagonal.
    rules["plot_px"] = max(rules["plot_px"], min(360.0, 40.0 * len(tokens)))
    return fit(figure.update_layout(meta=rules | {"row_px": rules["plot_px"] / len(tokens)}))


def _unseen(length: int) -> np.ndarray:
    """The upper triangle, which a causal model cannot look at."""
    return np.triu(np.ones((length, length), dtype=bool), k=1)


def _square(one: pd.DataFrame, length: int) -> np.ndarray:
    """[destination source] weights; zero above the diagonal."""
    square = np.zeros((length, length))
    square[one["destination"], one["source"]] = one["weight"]
    return square


def _group(heads: pd.DataFrame, layer: int, head: int) -> str:
    """Which key/value head a query head reads, where several share one."""
    if heads["key_value_head"].nunique() == heads["head"].nunique():
        return ""
    row = heads[(heads["layer"] == layer) & (heads["head"] == head)].iloc[0]
    return f" (key/value head {int(row['key_value_head'])})"


def overview(heads: pd.DataFrame, statistic: str, title: str, unit: str, *, fraction: bool, legend: str) -> go.Figure:
    """One number for every head, layers × heads; fractions are drawn from 0 to 1."""
    values = grid(heads, x="head", y="layer", value=statistic)
    return sequential_heatmap(
        values,
        [str(head) for head in values.columns],
        [str(layer) for layer in values.index],
        title=f"{title}, every head",
        x_title="head",
        y_title="layer",
        unit=unit,
        legend=legend,
        limits=(0.0, 1.0) if fraction else None,
    )
