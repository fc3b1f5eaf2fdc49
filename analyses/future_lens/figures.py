"""Figures of the future lens: precision by layer and offset, what it adds to a bigram, one text's end, and the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import glyphs, grid, grouped_bars, lens_table, lines
from analyses._trained_lenses.figures import at_layers, whose
from analyses.future_lens.tables import LENS

if TYPE_CHECKING:
    from analyses.future_lens import FutureSpec

ALWAYS = ("precision", "ahead")


def names(spec: FutureSpec) -> tuple[str, ...]:
    """The figures' names, in order; a kept lens has neither baselines nor a fit to draw."""
    return ALWAYS if spec.lens is not None else (*ALWAYS, "baselines", "fitting")


def figures(frames: Frames, spec: FutureSpec) -> dict[str, go.Figure]:
    """From the frames alone."""
    scores, about = frames["scores"], frames["about"]
    found = {"precision": _precision(scores, about), "ahead": _ahead(frames["ahead"], about)}
    if spec.lens is not None:
        return found
    return found | {"baselines": _baselines(scores, about), "fitting": _fitting(frames["curves"], about)}


def _precision(scores: pd.DataFrame, about: pd.DataFrame) -> go.Figure:
    here = scores[scores["lens"] == LENS]
    several = int(here["texts"].max()) > 1
    named = here.assign(words=[_words(offset) for offset in here["offset"]], layer=here["layer"].astype(int))
    figure = lines(
        named, x="layer", y="precision", group="words", low="precision_low" if several else None,
        high="precision_high" if several else None, title="Tokens ahead that are read off one state",
        x_title="output of layer", y_title="precision at 1 (fraction)", legend=whose(about, here),
    )  # fmt: skip
    return at_layers(figure, named["layer"]).update_yaxes(range=[-0.02, 1.02])


def _baselines(scores: pd.DataFrame, about: pd.DataFrame) -> go.Figure:
    """The layer is the best one beyond the next token, which any last layer would win."""
    lens = scores[scores["lens"] == LENS]
    beyond = lens[lens["offset"] >= min(2, int(lens["offset"].max()))]
    best = int(str(beyond.groupby("layer")["precision"].mean().idxmax()))
    shown = pd.concat([lens[lens["layer"] == best], scores[scores["lens"] != LENS]])
    named = shown.assign(words=[_words(offset) for offset in shown["offset"]],
                         way=[f"layer {best}" if one == LENS else one for one in shown["lens"]])  # fmt: skip
    return grouped_bars(
        named, x="words", group="way", value="precision", low="precision_low", high="precision_high",
        title="Tokens ahead: one state beside what needs none", x_title="how far ahead",
        y_title="precision at 1 (fraction)",
        legend=f"Layer {best}: the best beyond the next token, on these very texts. embedding: the same map, "
        f"which sees the token alone. {whose(about, lens)}".replace("bands", "bars"),
    )  # fmt: skip


def _ahead(frame: pd.DataFrame, about: pd.DataFrame) -> go.Figure:
    top = frame.drop_duplicates("offset").assign(row=int(frame["layer"].max()) + 1)
    rows = pd.concat([
        frame.assign(row=frame["layer"], word=frame["top"]),
        top.assign(word=top["written"], probability=top["written_probability"]),
    ])  # fmt: skip
    drawn = rows.assign(word=[glyphs(text) for text in rows["word"]])
    return lens_table(
        grid(drawn, x="offset", y="row", value="probability"),
        grid(drawn, x="offset", y="row", value="word").to_numpy().tolist(),
        [_words(offset) for offset in sorted(frame["offset"].unique())],
        [*(str(layer) for layer in sorted(frame["layer"].unique())), "written"],
        title=f"Tokens ahead of {glyphs(str(frame['token'].iloc[0]))}, read off its state", x_title="how far ahead",
        y_title="output of layer",
        legend="Each cell: the token that the lens finds most likely, shaded by its probability; top row: what the "
        f"model writes. Read: the end of {about['pictured'].iloc[0]}",
    )  # fmt: skip


def _fitting(curves: pd.DataFrame, about: pd.DataFrame) -> go.Figure:
    words = ["embedding" if pd.isna(layer) else f"layer {layer}" for layer in curves["layer"]]
    named = curves.assign(words=[f"{one}, {offset} ahead" for one, offset in zip(words, curves["offset"], strict=True)])
    one = about.iloc[0]
    return lines(
        named, x="step", y="checked", group="words", title="Fitting the future lens", x_title="step",
        y_title="KL(model ‖ lens) (nats)",
        legend="On texts that are neither fitted on nor tested with; each fit's lowest step is kept. Fitted on "
        f"{one['fitted_positions']:,} positions of {one['fitted_texts']} texts",
    ).update_yaxes(rangemode="tozero")  # fmt: skip


def _words(offset: int) -> str:
    return "next token" if offset == 1 else f"{offset} ahead"
