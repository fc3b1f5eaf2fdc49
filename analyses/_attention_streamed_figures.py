"""Figures of attention statistics, drawn from its frames alone."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analyses._attention_figures import overview
from analyses._contract import Frames
from analyses._plots import bars, glyphs, lines
from hooks.errors import InputError

STATISTICS = {
    "sink_mass": ("Weight on the first tokens (sink)", "fraction of attention"),
    "entropy": ("Entropy of attention", "entropy (nats)"),
    "max_weight": ("Largest weight", "attention weight"),
    "recent_mass": ("Weight on recent tokens", "fraction of attention"),
    "mean_distance": ("How far back heads look", "distance (tokens)"),
    "distance_deviation": ("Spread of distances", "standard deviation (tokens)"),
}
FRACTIONS = ("sink_mass", "max_weight", "recent_mass")


def figures(frames: Frames, *, layer: int | None, head: int, statistic: str) -> dict[str, go.Figure]:
    """One number for every head, how it runs along the text in one layer, and what one head looks at most.

    Raises:
        InputError: `layer` was not read, or has no such head.
    """
    heads = frames["heads"]
    read = sorted(int(one) for one in heads["layer"].unique())
    layer = read[0] if layer is None else layer
    if layer not in read:
        raise InputError(f"layer {layer} was not read; read: {', '.join(map(str, read))}")
    valid = sorted(int(one) for one in heads["head"].unique())
    if head not in valid:
        raise InputError(f"head {head} of layer {layer} does not exist: valid heads are 0 to {valid[-1]}")
    found = {"heads": _heads(heads, statistic, len(frames["tokens"])), "along": _along(frames, layer, statistic)}
    return found if frames["keys"].empty else found | {"keys": _keys(frames, layer, head)}


def _heads(heads: pd.DataFrame, statistic: str, length: int) -> go.Figure:
    legend = f"mean over {length - 1} destinations, from position 1 on"
    title, unit = STATISTICS[statistic]
    return overview(heads, statistic, title, unit, fraction=statistic in FRACTIONS, legend=legend)


def _along(frames: Frames, layer: int, statistic: str) -> go.Figure:
    title, unit = STATISTICS[statistic]
    here = frames["along"][frames["along"]["layer"] == layer]
    drawn = here.assign(middle=(here["first"] + here["last"]) / 2, name=[f"L{layer}H{head}" for head in here["head"]])
    widest = int((here["last"] - here["first"]).max()) + 1
    return lines(
        drawn,
        x="middle",
        y=statistic,
        group="name",
        title=f"{title} along the text, layer {layer}",
        x_title="position of the token that looks",
        y_title=unit,
        legend=f"means over up to {widest} neighbouring positions" if widest > 1 else "",
    )


def _keys(frames: Frames, layer: int, head: int) -> go.Figure:
    keys = frames["keys"]
    here = keys[(keys["layer"] == layer) & (keys["head"] == head)].sort_values("order")
    tokens = frames["tokens"].set_index("position")["token"]
    named = here.assign(token=[f"{glyphs(tokens[place])}  {place}" for place in here["position"]])
    return bars(
        named,
        label="token",
        value="share",
        title=f"What L{layer}H{head} looks at most",
        unit="share of the head's attention",
        legend="weight summed over all destinations, over their number; a head's shares add up to 1",
        y_title="token and position",
    )
