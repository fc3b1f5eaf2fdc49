"""Figures of the attention lens: how near by layer, the heads of one layer word by word, and the fit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._common import one_layer
from analyses._contract import Frames
from analyses._plots import glyphs, grid, lens_table, token_hovers, token_labels
from analyses._trained_lenses.figures import by_layer, curves, words
from analyses._trained_lenses.workflow import OUTPUT

if TYPE_CHECKING:
    from analyses.attention_lens import AttentionLensSpec

ALWAYS = ("kl", "agreement", "head_tokens", "head_tokens_unfitted", "sum_tokens")
LENS, PLAIN = "attention lens", "logit lens of the heads"


def names(spec: AttentionLensSpec) -> tuple[str, ...]:
    """The figures' names, in order; a kept lens has no fit to draw."""
    return ALWAYS if spec.lens is not None else (*ALWAYS, "fitting")


def figures(frames: Frames, spec: AttentionLensSpec) -> dict[str, go.Figure]:
    """From the frames alone. Raises InputError for a layer that was not read."""
    scores, about, cells, heads = (frames[name] for name in ("scores", "about", "cells", "heads"))
    layer = one_layer(list(heads["layer"]), spec.layer if spec.layer is not None else int(heads["layer"].max()))
    found = {
        "kl": by_layer(
            scores, about, "kl", title="Distance of a layer's heads from the model's output",
            x_title="heads of layer", y_title="KL(model ‖ lens) (nats)",
        ),
        "agreement": by_layer(
            scores, about, "agreement", title="The model's own most likely token, read from a layer's heads",
            x_title="heads of layer", y_title="tokens that agree (fraction)",
        ),
        "head_tokens": _heads(heads, cells, about, layer, LENS),
        "head_tokens_unfitted": _heads(heads, cells, about, layer, PLAIN),
        "sum_tokens": words(cells, about, LENS, title="Attention lens: the sum of a layer's heads",
                            y_title="heads of layer"),
    }  # fmt: skip
    return found if spec.lens is not None else found | {"fitting": curves(frames["curves"], about, LENS)}


def _heads(heads: pd.DataFrame, cells: pd.DataFrame, about: pd.DataFrame, layer: int, lens: str) -> go.Figure:
    here = heads[(heads["layer"] == layer) & (heads["lens"] == lens)]
    drawn = here.assign(top=[glyphs(text) for text in here["top"]])
    read = cells[cells["lens"] == OUTPUT].sort_values("position")
    labels = token_labels(list(read["token"]), list(read["token_id"]))
    places = [f"{place} {label.split(' ', 1)[1]}" for place, label in zip(read["position"], labels, strict=True)]
    numbers = [str(head) for head in sorted(here["head"].unique())]
    shade, top = (grid(drawn, x="position", y="head", value=name) for name in ("probability", "top"))
    table = partial(
        lens_table, title=f"Heads of layer {layer}, each by itself: {lens}", unit="probability by this head alone",
        limits=(0.0, max(float(here["probability"].max()), 1e-6)),
        legend="Each cell: the head's own most likely next token, shaded by its probability; the heads were fitted "
        f"together, so one alone need not be like the model. Read: {about['pictured'].iloc[0]}",
    )  # fmt: skip
    hovers = token_hovers(list(read["token"]), list(read["token_id"]))
    if len(numbers) >= len(places):
        return table(shade, top.to_numpy().tolist(), places, numbers, x_title="position and token read",
                     y_title="head", x_hover=hovers)  # fmt: skip
    # Words need width: the fewer of heads and tokens stand side by side, and the text is read from above.
    shade, top, places = shade.T.iloc[::-1], top.T.iloc[::-1], places[::-1]
    return table(shade, top.to_numpy().tolist(), numbers, places, x_title="head", y_title="position and token read")
