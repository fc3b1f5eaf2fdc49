"""Attention similarity's pictures: layers, heads, what reuse costs, and whether alike layers can stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._common import grey_note
from analyses._contract import Frames
from analyses._plots import grid, scatter, sequential_heatmap, signed_heatmap
from analyses._stats import FEWEST

if TYPE_CHECKING:
    from analyses.attention_similarity import SimilaritySpec

MEASURES = {"js": "Jensen–Shannon similarity", "cosine": "cosine similarity"}
SCALE_AT = 0.9
"""Share of cells inside the colours of the reuse map; the few that break the model would leave all others white."""

RATE = 0.05
"""Share of false ones among the cells that are told from 0."""


def names(spec: SimilaritySpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return ("layers", "heads", *(("reuse", "trade") if spec.reach else ()))


def figures(frames: Frames, spec: SimilaritySpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    heads = frames["heads"].assign(
        name=_labels(frames["heads"], "layer", "head"), other=_labels(frames["heads"], "other_layer", "other_head")
    )
    order = list(dict.fromkeys(heads["name"]))
    of = ", ".join(dict.fromkeys(str(layer) for layer in heads["layer"]))
    drawn = {
        "layers": _alike(frames["layers"], "layer", "other", None, frames, spec, "Patterns of layers, heads averaged"),
        "heads": _alike(heads, "name", "other", order, frames, spec, f"Patterns of heads, layers {of}"),
    }
    if spec.reach:
        drawn |= {"reuse": _reuse(frames, spec), "trade": _trade(frames, spec)}
    return drawn


def behind(frames: Frames, _spec: SimilaritySpec, name: str, column: str, row: str) -> pd.DataFrame | None:
    """Every text's number of a cell of the layers' map or of the reuse map."""
    if name == "layers":
        one, other = sorted((int(column), int(row)))
        values = frames["values"]
        here = values[(values["layer"] == one) & (values["other"] == other)][["text", "similarity"]]
    elif name == "reuse":
        values = frames["reuse_values"]
        here = values[(values["donor"] == int(column)) & (values["target"] == int(row))][["text", "loss", "change"]]
    else:
        return None
    return here.merge(frames["texts"], on="text").reset_index(drop=True)


def _alike(
    table: pd.DataFrame, y: str, x: str, order: list[str] | None, frames: Frames, spec: SimilaritySpec, title: str
) -> go.Figure:
    values, low, high = (grid(table, x=x, y=y, value=name, x_order=order, y_order=order)
                         for name in ("mean", "low", "high"))  # fmt: skip
    square = values.to_numpy(dtype=float)
    apart = square[~np.eye(len(square), dtype=bool)]
    labels, noun = [str(one) for one in values.columns], "head" if order else "layer"
    best = table[table[y] != table[x]].nlargest(1, "mean").iloc[0]
    pair = f"{best[y]} and {best[x]}" if order else f"{int(best[y])} and {int(best[x])}"
    return sequential_heatmap(
        square, labels, labels, title=title, x_title=noun, y_title=noun, unit=MEASURES[spec.measure],
        limits=(float(np.floor(10 * apart.min()) / 10), 1.0), low=low, high=high,
        legend=f"{_whose(frames)}. 1: equal rows. Median of two different ones: {np.median(apart):.2f}; most alike: "
        f"{pair}, {best['mean']:.2f}{_without(spec)}",
    )  # fmt: skip


def _reuse(frames: Frames, spec: SimilaritySpec) -> go.Figure:
    table = frames["reuse"]
    layers = sorted({*table["target"], *table["donor"]})
    values, low, high, found = (
        grid(table, x="donor", y="target", value=name, x_order=layers, y_order=layers)
        for name in ("mean", "low", "high", "discovered")
    )
    apart = table[table["target"] != table["donor"]]["mean"].abs()
    most = float(apart.quantile(SCALE_AT)) if len(apart) else 0.0
    untried = values.isna().to_numpy()
    diagonal = np.eye(len(layers), dtype=bool)
    hidden = ~found.fillna(False).to_numpy(dtype=bool) & ~untried & ~diagonal if spec.hide_uncertain else None
    notes = [f"{_whose(frames)}. Blue: the model predicts worse with the other layer's pattern, red: better"]
    notes += [f"darkest: {most:.2g} nats and beyond"] if most else []
    notes += [_told(table, len(frames["texts"]))] if len(frames["texts"]) > 1 else []
    notes += [f"white off the diagonal: more than {spec.reach} layers away, not tried"] if untried.any() else []
    return signed_heatmap(
        values, [str(one) for one in layers], [str(one) for one in layers],
        title="Change of the loss when a layer uses another's pattern", x_title="donor layer (its pattern is used)",
        y_title="target layer (used here)", unit="change of the loss (nats)", legend="; ".join(notes),
        mask=untried, hidden=hidden, hidden_note=grey_note(len(frames["texts"])), low=low, high=high,
        limit=most or None,
    )  # fmt: skip


def _told(table: pd.DataFrame, texts: int) -> str:
    """How many cells off the diagonal are told from no change."""
    tried = table[table["target"] != table["donor"]]
    if texts < FEWEST:
        return f"{texts} texts are too few to tell any cell from 0, {FEWEST} are needed"
    tried_alone = f"told from 0 (false discovery rate {RATE:.0%}): {int(tried['discovered'].sum())} of {len(tried)}"
    # The smallest p that signs can give is 2^(1 − texts): at that, so many cells have to be marked together, or none.
    together = int(np.ceil(2.0 ** (1 - texts) * len(tried) / RATE))
    if together <= 1:
        return tried_alone
    least = f"{together} or more at once, or none" if together <= len(tried) else "none"
    return f"{tried_alone}; {texts} texts can tell {least}"


def _trade(frames: Frames, spec: SimilaritySpec) -> go.Figure:
    alike = frames["layers"].rename(columns={"layer": "target", "other": "donor", "mean": "similarity"})
    both = frames["reuse"].merge(alike[["target", "donor", "similarity"]], on=["target", "donor"])
    both = both[both["target"] != both["donor"]]
    named = both.assign(
        name=[f"{donor} in {target}" for donor, target in zip(both["donor"], both["target"], strict=True)],
        way=np.where(both["donor"] < both["target"], "earlier layer's pattern", "later layer's pattern"),
    )
    return scatter(
        named, x="similarity", y="mean", label="name", group="way", labelled=10, y_low="low", y_high="high",
        title="Can layers with alike patterns stand in for each other?", x_title=MEASURES[spec.measure],
        y_title="change of the loss (nats)",
        legend=f"{_whose(frames)}; a point is a donor in a target{_without(spec)}",
    )  # fmt: skip


def _labels(frame: pd.DataFrame, layer: str, head: str) -> list[str]:
    return [f"L{one}H{other}" for one, other in zip(frame[layer], frame[head], strict=True)]


def _without(spec: SimilaritySpec) -> str:
    return "" if spec.first_token else ". Compared without the first token"


def _whose(frames: Frames) -> str:
    count = len(frames["texts"])
    return "One text" if count == 1 else f"Mean of {count} texts"
