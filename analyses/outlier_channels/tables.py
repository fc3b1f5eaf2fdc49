"""The tables of outlier channels: the verdict, layers, channels, massive activations, texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analyses._activations import Text
from analyses._columns import bounds, no_rows
from analyses._common import LAYER
from analyses._contract import Column
from analyses._stats import mean_interval
from analyses.outlier_channels.ablating import outlier_share
from analyses.outlier_channels.choosing import Outliers
from analyses.outlier_channels.reading import Reading, channel_kurtosis

if TYPE_CHECKING:
    from hooks.model import Model


def layers_table(reading: Reading, found: Outliers, layers: Sequence[int]) -> pd.DataFrame:
    """A row a layer: kurtosis across channels and over tokens, outliers and their share of the norm."""
    across, across_low, across_high = mean_interval(reading.across.numpy())
    share, share_low, share_high = mean_interval(outlier_share(reading, found.chosen).numpy())
    # Student's t of few texts knows no bounds; no kurtosis is below 1.
    across_low, share_low, share_high = (
        np.maximum(across_low, 1.0), np.maximum(share_low, 0.0), np.minimum(share_high, 1.0))  # fmt: skip
    over = channel_kurtosis(reading).median(dim=-1).values
    largest = reading.peaks.abs().amax(dim=0)
    massive = pd.Series([one.layer for one in reading.massive], dtype="int64").value_counts()
    return pd.DataFrame({
        "layer": list(layers), "across": across, "across_low": across_low, "across_high": across_high,
        "over_tokens": over.numpy(), "outliers": found.chosen.sum(dim=-1).numpy(), "share": share,
        "share_low": share_low, "share_high": share_high, "largest": largest.amax(dim=-1).numpy(),
        "channel": largest.argmax(dim=-1).numpy(), "massive": [int(massive.get(layer, 0)) for layer in layers],
        "texts": len(reading.tokens),
    })  # fmt: skip


def told_channels(found: Outliers, most: int) -> list[int]:
    """The channels that are told: largest mean |x| over the median channel's in any layer, in that order."""
    return [int(one) for one in found.times.amax(dim=0).argsort(descending=True, stable=True)[:most]]


def channels_table(
    model: Model, texts: Sequence[Text], reading: Reading, found: Outliers, layers: Sequence[int], most: int
) -> pd.DataFrame:
    """A row a layer and told channel."""
    tokens = int(reading.tokens.sum())
    sizes, on_sinks, on_first = (one.sum(dim=0) for one in (reading.sizes, reading.on_sinks, reading.on_first))
    parts = {"kurtosis": channel_kurtosis(reading), "share": reading.shares.sum(dim=0) / tokens,
             "on_sinks": on_sinks / sizes, "on_first": on_first / sizes}  # fmt: skip
    rows = []
    for place, layer in enumerate(layers):
        for channel in told_channels(found, most):
            peaks = reading.peaks[:, place, channel]
            text = int(peaks.abs().argmax())
            position = int(reading.peaks_at[text, place, channel])
            rows.append({
                "layer": layer, "channel": channel, "outlier": bool(found.chosen[place, channel]),
                "peak": float(peaks[text]), "text": texts[text].number, "position": position,
                "token": model.str_tokens([int(texts[text].ids[0, position])])[0],
                "sink": position in reading.sinks[text], "mean": float(found.mean[place, channel]),
                "times": float(found.times[place, channel]),
                **{name: float(part[place, channel]) for name, part in parts.items()},
            })  # fmt: skip
    return pd.DataFrame(rows)


def massive_table(model: Model, texts: Sequence[Text], reading: Reading) -> pd.DataFrame:
    """A row a massive activation."""
    numbers = {text.number: text for text in texts}
    rows = [
        {"layer": one.layer, "channel": one.channel, "text": one.text, "position": one.position,
         "token": model.str_tokens([int(numbers[one.text].ids[0, one.position])])[0], "sink": one.sink,
         "value": one.value, "median": one.median}
        for one in reading.massive
    ]  # fmt: skip
    if not rows:
        whole = dict.fromkeys(("layer", "channel", "text", "position"), "int64")
        return no_rows(MASSIVE, **whole, sink="bool", value="float64", median="float64")
    return pd.DataFrame(rows, columns=[column.name for column in MASSIVE])


def texts_table(texts: Sequence[Text], reading: Reading) -> pd.DataFrame:
    """A row a text: its length and its sinks."""
    return pd.DataFrame([
        {"text": text.number, "label": text.label, "begins": text.begins, "tokens": text.total, "sinks": len(sinks),
         "at": ", ".join(map(str, sinks))}
        for text, sinks in zip(texts, reading.sinks, strict=True)
    ])  # fmt: skip


def verdict_table(
    reading: Reading, found: Outliers, layers: Sequence[int], factor: float, said: str
) -> pd.DataFrame:  # fmt: skip
    """One row: how many outliers, where their values sit, how many massive activations; `said` of the ablation."""
    several = found.chosen.any(dim=0)
    count, at_sinks = len(reading.massive), sum(one.sink for one in reading.massive)
    sizes = (reading.sizes.sum(dim=0) * found.chosen).sum()
    on_sinks = (
        float((reading.on_sinks.sum(dim=0) * found.chosen).sum() / sizes) if bool(several.any()) else float("nan")
    )
    numbers = found.times.amax(dim=0).argsort(descending=True)[:3].tolist()
    names = [str(one) for one in numbers if bool(several[one])]
    words = (
        f"{int(several.sum())} of {len(several)} channels are outliers (mean |x| > {factor:g} × the median channel's) "
        f"in at least one of {len(layers)} layers" + (f", above all {', '.join(names)}" if names else "")
    )
    if names:
        words += f"; {on_sinks:.0%} of their Σ |x| is on sinks"
    words += f". Massive activations: {count}" + (f", {at_sinks} of them on sinks" if count else "")
    row = {"outliers": int(found.chosen.sum()), "channels": int(several.sum()),
           "layers": int(found.chosen.any(dim=-1).sum()), "on_sinks": on_sinks, "massive": count,
           "massive_on_sinks": at_sinks, "without_sink": sum(not sinks for sinks in reading.sinks)}  # fmt: skip
    return pd.DataFrame([row | {"statement": words, "ablation": said}])


def shares_of(reading: Reading, found: Outliers) -> torch.Tensor:
    """[layer] share of the squared norm on the outliers, mean over texts."""
    return outlier_share(reading, found.chosen).mean(dim=0)


_CHANNEL = Column("channel", "", "channel of the site's vectors, from 0")
_TEXT = Column("text", "", "number of the text, from 0")
VERDICT = (
    Column("outliers", "count", "pairs of layer and channel that are outliers"),
    Column("channels", "count", "different channels among them"),
    Column("layers", "count", "layers that have one"),
    Column("on_sinks", "fraction", "share of the outliers' Σ |x| that stands on sinks; missing without outliers"),
    Column("massive", "count", "massive activations: text, layer, position and channel"),
    Column("massive_on_sinks", "count", "of these, those on a sink of their text"),
    Column("without_sink", "count", "texts in which no token is a sink"),
    Column("statement", "", "the same in words"),
    Column("ablation", "", "what zeroing them costs, in words; empty where none was set"),
)
LAYERS = (
    LAYER,
    Column("across", "", "kurtosis over the channels of a token (3: Gaussian), mean over tokens, then texts"),
    *bounds("", "across"),
    Column("over_tokens", "", "kurtosis over all tokens, of the median channel"),
    Column("outliers", "count", "outlier channels"),
    Column("share", "fraction", "share of a token's squared norm on them, mean over tokens, then texts"),
    *bounds("fraction", "share"),
    Column("largest", "", "largest |x|"),
    Column("channel", "", "its channel"),
    Column("massive", "count", "massive activations"),
    Column("texts", "count", "texts behind the row"),
)
CHANNELS = (
    LAYER, _CHANNEL,
    Column("outlier", "", "whether it is an outlier of this layer"),
    Column("peak", "", "the x whose |x| is the largest"),
    Column("text", "", "text in which that stands"),
    Column("position", "", "its position, from 0"),
    Column("token", "", "its token"),
    Column("sink", "", "whether that token is a sink of the text"),
    Column("mean", "", "mean |x| over all tokens"),
    Column("times", "ratio", "that over the median channel's"),
    Column("kurtosis", "", "over all tokens; 3: Gaussian, 0: constant"),
    Column("share", "fraction", "share of a token's squared norm, mean over tokens"),
    Column("on_sinks", "fraction", "share of Σ |x| that stands on sinks"),
    Column("on_first", "fraction", "share of Σ |x| that stands on the texts' first tokens"),
)  # fmt: skip
MASSIVE = (
    LAYER, _CHANNEL, _TEXT,
    Column("position", "", "token position, from 0"),
    Column("token", "", "its token"),
    Column("sink", "", "whether it is a sink of the text"),
    Column("value", "", "the activation"),
    Column("median", "", "median |x| of that text and layer"),
)  # fmt: skip
TEXTS = (
    _TEXT,
    Column("label", "", "its label, if any"),
    Column("begins", "", "how it begins"),
    Column("tokens", "count", "its tokens"),
    Column("sinks", "count", "its sinks"),
    Column("at", "", "their positions"),
)
