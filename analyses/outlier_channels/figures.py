"""Outlier channels' pictures: how large, where they sit, kurtosis and share by layer, and what setting them costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analyses._common import mean_of
from analyses._contract import Frames
from analyses._plots import fit, grid, grouped_bars, lines, sequential_heatmap, template
from analyses._stats import FEWEST
from analyses.outlier_channels.ablating import OUTLIERS

if TYPE_CHECKING:
    from analyses.outlier_channels import OutlierSpec

NAMES = ("channels", "sinks", "kurtosis", "share")
DRAWN = 24
"""Channels that a heatmap has room for."""

NOT_ONE = "grey: no outlier of this layer"


def names(spec: OutlierSpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return (*NAMES, *(("ablation",) if spec.ablation else ()))


def figures(frames: Frames, spec: OutlierSpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    drawn = {"channels": _channels(frames, spec), "sinks": _sinks(frames, spec), "kurtosis": _kurtosis(frames, spec),
             "share": _share(frames, spec)}  # fmt: skip
    return drawn | ({"ablation": _ablation(frames, spec)} if spec.ablation else {})


def _heat(frames: Frames, value: str) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """`value` and whether it is an outlier, [layer channel], with the channels and the layers in words."""
    table = frames["channels"]
    somewhere = set(table.loc[table["outlier"], "channel"])
    every = list(dict.fromkeys(table["channel"]))
    chosen = [one for one in every if one in somewhere][:DRAWN] or every[:DRAWN]
    here = table[table["channel"].isin(chosen)]
    values, told = (grid(here, x="channel", y="layer", value=name, x_order=chosen) for name in (value, "outlier"))
    labels = [str(one) for one in values.columns], [str(one) for one in values.index]
    return values.to_numpy(dtype=float), told.to_numpy(dtype=bool), *labels


def _channels(frames: Frames, spec: OutlierSpec) -> go.Figure:
    values, told, channels, layers = _heat(frames, "times")
    beyond = max(int(frames["verdict"]["channels"].iloc[0]) - len(channels), 0)
    more = f". {beyond} more channels are outliers somewhere" if beyond else ""
    return sequential_heatmap(
        np.log10(np.maximum(values, 1.0)), channels, layers, title=f"Outlier channels of {spec.site}",
        x_title="channel, those farthest above the others first", y_title="layer", unit="log10 of the ratio",
        legend=f"Mean |x| over the median channel's. {frames['verdict']['statement'].iloc[0]}{more}", hidden=~told,
        hidden_note=f"{NOT_ONE} (up to {spec.factor:g} ×)",
    )  # fmt: skip


def _sinks(frames: Frames, spec: OutlierSpec) -> go.Figure:
    values, told, channels, layers = _heat(frames, "on_sinks")
    texts = frames["texts"]
    expected = texts["sinks"].sum() / texts["tokens"].sum()
    return sequential_heatmap(
        values, channels, layers, title="How much of an outlier channel stands on attention sinks",
        x_title="channel, those farthest above the others first", y_title="layer", unit="share of Σ |x|",
        limits=(0.0, 1.0), hidden=~told, hidden_note=NOT_ONE,
        legend=f"{spec.site}, {len(texts)} texts. {expected:.1%} of their tokens are sinks: a channel that is equally "
        "large everywhere would have that share",
    )  # fmt: skip


def _kurtosis(frames: Frames, spec: OutlierSpec) -> go.Figure:
    table = frames["layers"]
    figure = lines(
        table, x="layer", y="across", low="across_low", high="across_high", title="Kurtosis over the channels",
        x_title="layer", y_title="kurtosis (log scale)",
        legend=f"{spec.site}. {mean_of(int(table['texts'].iloc[0]), noun='text')} of each token's kurtosis over its "
        f"channels; Gaussian: 3. {_band(table)}",
    )  # fmt: skip
    figure.update_yaxes(type="log")
    return figure


def _band(table: object) -> str:
    count = int(table["texts"].iloc[0])  # type: ignore[index]
    return "Band: 95% over texts" if count > 1 else ""


def _share(frames: Frames, spec: OutlierSpec) -> go.Figure:
    table = frames["layers"]
    most = f"{int(table['outliers'].min())} to {int(table['outliers'].max())}"
    return lines(
        table, x="layer", y="share", low="share_low", high="share_high", x_title="layer",
        title="Share of a token's squared norm on outlier channels", y_title="share of the squared norm",
        legend=f"{spec.site}. {mean_of(int(table['texts'].iloc[0]), noun='text')}; {most} outlier channels a layer. "
        f"{_band(table)}",
    )  # fmt: skip


def _ablation(frames: Frames, spec: OutlierSpec) -> go.Figure:
    table = frames["ablation"]
    if not len(table):
        return _nothing(spec)
    texts, several = int(table["texts"].iloc[0]), table["layer"].nunique() > 1
    sizes = table[table["arm"] == OUTLIERS].drop_duplicates("layer")
    counts = ", ".join(f"{row.channels} in layer {row.layer}" for row in sizes.itertuples())
    shown = table.assign(
        place=[f"L{row.layer} {row.arm}" if several else str(row.arm) for row in table.itertuples()],
        how=["set to zero" if edit == "zero" else "set to the mean" for edit in table["edit"]],
    )
    told = frames["contrasts"]
    marks = f"{int(told['discovered'].sum())} of {len(told)} contrasts of outliers with a control told from 0"
    if texts < FEWEST:
        marks = f"{texts} texts are too few to tell any contrast from 0, {FEWEST} are needed"
    where = {"all": "all tokens", "sinks": "sinks alone", "others": "tokens that are no sink"}[spec.acted_on]
    return grouped_bars(
        shown, x="place", group="how", value="change", low="low", high="high", x_title="channels",
        title="What setting outlier channels costs", y_title="change of the loss (nats a token)", reference=0.0,
        legend=f"{spec.site}, {counts}, at {where}; mean over {texts} texts, bars: 95%. "
        f"{frames['verdict']['ablation'].iloc[0]}. {marks}",
    )  # fmt: skip


def _nothing(spec: OutlierSpec) -> go.Figure:
    """An empty plot that says why nothing was set."""
    figure = go.Figure()
    words = f"Nothing was set: no channel there has a mean |x| of more than {spec.factor:g} × the median channel's"
    figure.update_layout(meta={"kind": "axes", "title": "What setting outlier channels costs", "notes": [words],
                               "x_title": "", "y_title": "", "plot_px": 60.0})  # fmt: skip
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return fit(figure.update_layout(template=template()))
