"""The strongest edges token by token: at which position of the residual stream each edge's score arises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._circuits.scoring import WORDS, Scored, Scoring
from analyses._common import FOUND, interval, steps
from analyses._contract import Column, Context, Frames
from analyses._pairs import ids_of
from analyses._patching_table import position_labels
from analyses._plots import grid, signed_heatmap
from analyses._plots.tokens import token_labels
from analyses._stats import Floats, mean_interval
from hooks.edges import METHODS, EdgeGraph, by_row, edge_scores
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair

if TYPE_CHECKING:
    from hooks.model import Model

NAME = "positions"
STRONGEST = 30
"""Edges in the frame and the picture."""
COLUMNS = (
    Column("edge", "", "name, L5H5->L9H6.q"),
    Column("rank", "", "place among all edges by size of the mean score, from 1"),
    Column("position", "", "token position at which the edge carries the corrupted output, from 0"),
    Column("token", "", "the token there; clean→corrupted where they differ; empty where pairs differ"),
    *interval("metric", "the edge's score at this position; sums to the edge's score; mean over pairs"),
    FOUND[1],
)


def refuse(method: str, aligned: Sequence[AlignedPair]) -> None:
    """Raise InputError for a method that runs edges at all positions at once, and for pairs of several lengths."""
    if method not in METHODS:
        raise InputError(f"by_position needs scores by gradients, not {WORDS[method]}: use method {', '.join(METHODS)}")
    lengths = sorted({len(one.clean_ids) for one in aligned})
    if len(lengths) > 1:
        raise InputError(
            f"by_position compares positions, so all pairs must have one length; these have {lengths[0]} to "
            f"{lengths[-1]} tokens: give one pair, or pairs of one length"
        )


def positions_table(
    model: Model, graph: EdgeGraph, aligned: Sequence[AlignedPair], metrics: Sequence[Metric], how: Scoring,
    scored: Scored, context: Context, span: tuple[float, float],
) -> pd.DataFrame:  # fmt: skip
    """The frame that `COLUMNS` declares: the STRONGEST edges of `scored`, by position; all pairs are scored again."""
    rows = np.argsort(-np.abs(scored.mean), kind="stable")[:STRONGEST]
    found: list[Floats] = []
    for place, inner in steps(context, range(len(aligned)), "positions of pair", first=span[0], last=span[1]):
        apart = edge_scores(
            model, graph, *ids_of(model, aligned[place]), by_row([metrics[place]]), how.method, steps=how.steps,
            points=how.points, by_position=True, progress=inner.progress,
        )  # fmt: skip
        found.append(apart.scores[0][:, rows].double().cpu().numpy().T)
    values = np.stack(found)
    mean = values.mean(axis=0)
    low, high = mean_interval(values)[1:] if len(values) > 1 else (np.full_like(mean, np.nan),) * 2
    tokens, repeat = position_labels(model, list(aligned)), partial(np.repeat, repeats=mean.shape[1])
    return pd.DataFrame({
        "edge": repeat([graph.edge_names[row] for row in rows]), "rank": repeat(np.arange(1, len(rows) + 1)),
        "position": np.tile(list(tokens), len(rows)), "token": list(tokens.values()) * len(rows),
        "mean": mean.ravel(), "low": low.ravel(), "high": high.ravel(), "prompts": len(values),
    })  # fmt: skip


def nothing() -> pd.DataFrame:
    """The same frame where nobody asked for it."""
    kinds = dict.fromkeys(("mean", "low", "high"), "float64") | dict.fromkeys(("rank", "position", "prompts"), "int64")
    return pd.DataFrame(columns=[column.name for column in COLUMNS]).astype(kinds)


def picture(frames: Frames, whose: str) -> go.Figure:
    """Edges down, the strongest on top; tokens across."""
    rows, unit = frames[NAME], frames["circuit"]["unit"].iloc[0]
    names = list(dict.fromkeys(rows["edge"]))
    value, low, high = (
        grid(rows, x="position", y="edge", value=name, y_order=names) for name in ("mean", "low", "high")
    )
    labels = token_labels(rows.drop_duplicates("position")["token"].tolist())
    return signed_heatmap(
        value, labels, names, title=f"The {len(names)} strongest edges by position", x_title="token", y_title="edge",
        unit=f"score ({unit})", upside_down=True, low=low, high=high,
        legend=f"{whose}. A row sums to the edge's score. Red: corrupting the edge at that token harms; blue: it works "
        "against the answer",
    )  # fmt: skip
