"""Attention sinks' pictures: mass by head, a text's tokens, peak and drain by layer, massive channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import grid, lines, sequential_heatmap, strip
from analyses.attention_sinks.finding import rule_words
from analyses.attention_sinks.tables import OTHER
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.attention_sinks import SinksSpec

NAMES = ("mass", "tokens", "peak", "drain", "massive")
SHOWN = {"all": ("mass", "all sinks"), "first": ("first", "the first token"),
         "later": ("later", "sinks after the first token")}  # fmt: skip


def figures(frames: Frames, spec: SinksSpec) -> dict[str, go.Figure]:
    """The pictures in the order of NAMES. Raises InputError for a text that was not read."""
    said = _said(frames, spec)
    return {
        "mass": _mass(frames["heads"], spec, said),
        "tokens": _strip(frames, spec),
        "peak": _ratios(frames["peak"], "Residual stream norm of sinks over other tokens",
                        "layer whose output is read", said),
        "drain": _ratios(frames["drain"][frames["drain"]["key_value_head"].isna()],
                         "Value norm of sinks over other tokens, mean over heads", "layer", said),
        "massive": _massive(frames, spec),
    }  # fmt: skip


def _said(frames: Frames, spec: SinksSpec) -> str:
    """What was found where, in words."""
    texts = frames["texts"]
    none = int((texts["sinks"] == 0).sum())
    which = "One text" if len(texts) == 1 else f"{len(texts)} texts"
    if none == len(texts):
        return f"{which}: no token is a sink; the token looked at most stands in ({rule_words(spec)})"
    at = [places.split(", ") for places in texts.loc[texts["sinks"] > 0, "at"]]
    first = sum("0" in places for places in at)
    more = sum(places != ["0"] for places in at)
    counts = f"first token a sink in {first}, other tokens in {more}" + (f", none in {none}" if none else "")
    if len(texts) == 1:
        counts = f"sinks at {texts['at'].iloc[0]}"
    return f"{which}: {counts} ({rule_words(spec)})"


def _mass(heads: pd.DataFrame, spec: SinksSpec, said: str) -> go.Figure:
    column, words = SHOWN[spec.tokens]
    sides = {side: grid(heads, x="head", y="layer", value=f"{column}{side}") for side in ("", "_low", "_high")}
    values = sides[""]
    return sequential_heatmap(
        values, [str(head) for head in values.columns], [str(layer) for layer in values.index],
        title=f"Attention on {words}, by head", x_title="head", y_title="layer", unit="fraction of attention",
        legend=said, limits=(0.0, 1.0), low=sides["_low"] if len(heads) and heads["texts"].iloc[0] > 1 else None,
        high=sides["_high"] if heads["texts"].iloc[0] > 1 else None,
    )  # fmt: skip


def _strip(frames: Frames, spec: SinksSpec) -> go.Figure:
    texts = frames["texts"]
    if spec.text not in set(texts["text"]):
        raise InputError(f"option text = {spec.text}: texts that were read are 0 to {int(texts['text'].max())}")
    here = frames["tokens"][frames["tokens"]["text"] == spec.text]
    row = texts[texts["text"] == spec.text].iloc[0]
    label = f" ({row['label']})" if row["label"] else ""
    found = f"sinks at {row['at']}" if row["sinks"] else "no token is a sink"
    return strip(
        list(here["token"]), list(here["received"].astype(float)), unit="mean weight",
        title=f"What each token receives from later ones, text {spec.text}{label}",
        legend=f"Mean over heads and later queries; {found}. The last {spec.queries} tokens are not judged",
        hovers=[f"sink of {heads} heads" for heads in here["heads"]],
    )  # fmt: skip


def _ratios(table: pd.DataFrame, title: str, x_title: str, said: str) -> go.Figure:
    sinks = table[table["kind"] != OTHER]
    level = sinks.groupby("layer", as_index=False).first().assign(
        kind=OTHER, ratio=1.0, ratio_low=np.nan, ratio_high=np.nan)  # fmt: skip
    drawn = pd.concat([sinks, level], ignore_index=True)
    counts = sinks.groupby("kind", sort=False)["texts"].first()
    bands = ". Bands: 95% over texts" if (counts > 1).any() else ""
    top, low = (sinks.iloc[int(place)] for place in (sinks["ratio"].argmax(), sinks["ratio"].argmin()))
    peak = f"largest {top['ratio']:.3g}× ({top['kind']}, layer {int(top['layer'])})"
    told = f"{peak}, smallest {low['ratio']:.2g}× ({low['kind']}, layer {int(low['layer'])})"
    figure = lines(
        drawn, x="layer", y="ratio", low="ratio_low", high="ratio_high", group="kind", title=title, x_title=x_title,
        y_title="norm over that of other tokens (×)", legend=f"{said}. {told[0].upper()}{told[1:]}{bands}",
    )  # fmt: skip
    # A first token can have a hundred times the norm of all others: on a straight axis nothing else is seen.
    return figure.update_yaxes(type="log", dtick="D2")


def _massive(frames: Frames, spec: SinksSpec) -> go.Figure:
    channels, massive = frames["channels"], frames["massive"]
    order = list(dict.fromkeys(channels["channel"]))[::-1]
    values = grid(channels, x="layer", y="channel", value="size", y_order=order)
    there = grid(channels, x="layer", y="channel", value="massive", y_order=order)
    rule = f"massive: |activation| > {spec.massive:g} and > {spec.times:g}× the layer's median"
    if len(massive):
        found = massive.groupby("channel").size().sort_values(ascending=False)
        on = float(massive["sink"].mean())
        where = f"at position 0 in {float((massive['position'] == 0).mean()):.0%}, at a sink in {on:.0%}"
        which = ", ".join(str(channel) for channel in list(found.index)[:6])
        said = f"{len(found)} massive channel{'s' if len(found) > 1 else ''} ({which}), {where} of cases"
    else:
        said = "No activation is massive"
    return sequential_heatmap(
        values, [str(layer) for layer in values.columns], [str(channel) for channel in values.index],
        title="Largest activations of the residual stream", x_title="layer whose output is read", y_title="channel",
        unit="largest |activation|", colours="oranges", legend=f"{said} ({rule})",
        hidden=there.to_numpy() <= 0, hidden_note="grey: massive in no text",
    )  # fmt: skip
