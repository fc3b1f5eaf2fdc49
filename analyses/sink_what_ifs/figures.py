"""Sink what-ifs' pictures: the change in all, and the loss and its change by position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import bars, glyphs, lines
from analyses._stats import FEWEST
from analyses.sink_what_ifs.tables import ALL

if TYPE_CHECKING:
    from analyses.sink_what_ifs import WhatIfSpec

NAMES = ("total", "change", "loss")
BANDED = 6
"""Texts of a bin below which no band is drawn."""
BEYOND = 3.0
"""How many times the next largest change takes a what-if out of the picture of all."""


def figures(frames: Frames, spec: WhatIfSpec) -> dict[str, go.Figure]:
    """The pictures in the order of NAMES."""
    words = what(frames, spec)
    said = _said(frames)
    positions = frames["positions"]
    shown = positions[positions["what_if"].isin(spec.drawn)] if spec.drawn else positions
    beyond = [] if spec.drawn else _beyond(positions)
    width = int((positions["last"] - positions["first"]).max()) + 1
    x_title = "position of the predicted token" + (f" (bins of {width})" if width > 1 else "")
    middle = shown.assign(middle=(shown["first"] + shown["last"]) / 2, words=shown["what_if"].map(words))
    bounds = [name for name in middle.columns if name.endswith(("_low", "_high"))]
    middle[bounds] = middle[bounds].mask(middle["texts"] < BANDED)
    one = middle[middle["what_if"] == middle["what_if"].iloc[0]]
    both = pd.concat([
        pd.DataFrame({"middle": part["middle"], "words": part["words"] if name == "edited" else "as it is",
                      "mean": part[name]})
        for name, part in (("plain", one), ("edited", middle))
    ])  # fmt: skip
    many = len(frames["texts"]) > 1
    fewest = int(middle["texts"].min())
    fewer = f"; {fewest} to {len(frames['texts'])} texts a bin" if fewest < len(frames["texts"]) else ""
    bands = f". Bands: 95% over texts{', none below ' + str(BANDED) if fewest < BANDED else ''}{fewer}" if many else ""
    apart = ". No bands: texts differ; the change, paired inside a text, has them" if many else ""
    return {
        "total": _total(frames, words, said),
        "change": lines(
            middle[~middle["what_if"].isin(beyond)], x="middle", y="change", low="change_low", high="change_high",
            group="words", x_title=x_title,
            title="Change of the loss by position", y_title="change of the loss (nats)",
            legend=f"{said}. Above 0: worse than the text as it is, paired inside a text{bands}"
            + "".join(f". Not drawn here, for its size: {words[name]}" for name in beyond)),
        "loss": lines(
            both, x="middle", y="mean", group="words", x_title=x_title,
            title="Next-token loss by position", y_title="loss (nats)", legend=f"{said}{apart}{fewer}"),
    }  # fmt: skip


def _beyond(positions: pd.DataFrame) -> list[str]:
    """The what-if whose change is so many times all others' that these would lie flat; it can be asked for by name."""
    sizes = positions.assign(size=positions["change"].abs()).groupby("what_if")["size"].max().sort_values()
    return [str(sizes.index[-1])] if len(sizes) > 2 and sizes.iloc[-1] > BEYOND * sizes.iloc[-2] else []


def what(frames: Frames, spec: WhatIfSpec) -> dict[str, str]:
    """Every what-if in a few words."""
    front = glyphs(str(frames["texts"]["front"].iloc[0]))
    return {
        "masked": "sinks masked",
        "removed": "first token removed",
        "bos": f"{front} in front",
        "added": f"{spec.added} × {front} in front",
        "lambda": (f"first {spec.sinks} and " if spec.sinks else "") + f"last {spec.window} tokens seen",
        "clipped": f"softmax clipped, γ = {spec.gamma:g}, ζ = {spec.zeta:g}".replace("-", "−"),
    }


def _said(frames: Frames) -> str:
    texts = frames["texts"]
    number = "One text" if len(texts) == 1 else f"Mean of {len(texts)} texts"
    plain = frames["total"].loc[frames["total"]["label"] == ALL, "plain"].iloc[0]
    none = int((~texts["found"]).sum())
    said = f"{number}, loss {plain:.3f} as they are" if len(texts) > 1 else f"{number}, loss {plain:.3f} as it is"
    if none:
        said += f"; {none} without a sink, there the token looked at most is masked"
    return said


def _total(frames: Frames, words: dict[str, str], said: str) -> go.Figure:
    every = frames["total"][frames["total"]["label"] == ALL]
    texts = len(frames["texts"])
    named = every.assign(name=every["what_if"].map(words))
    found = named[named["discovered"]]
    told = (
        "" if texts == 1
        else f"{texts} texts are too few to tell any from 0, {FEWEST} are needed" if texts < FEWEST
        else f"Told from 0 (false discovery rate 5%): {len(found)} of {len(named)}"
    )  # fmt: skip
    return bars(
        named, label="name", value="change", low="change_low", high="change_high", unit="change of the loss (nats)",
        title="Change of the loss under each what-if", y_title="what if",
        legend=f"{said}. Blue, above 0: worse; red: better" + (f". {told}" if told else ""),
    )  # fmt: skip
