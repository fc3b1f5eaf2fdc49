"""Attention statistics: what does every head's attention do over a long text?

Per head: entropy, largest weight, weight on the first tokens (the sink), weight on the most recent tokens, and how far
back it looks; their course along the text; and the tokens that receive most of a head's attention. All in one forward,
without a tokens × tokens map, so texts of the model's whole context fit into memory.

Source: Clark et al. 2019 ("What does BERT look at?") for entropy and offsets as descriptions of a head; Xiao et al.
2024 ("Efficient streaming language models with attention sinks") for the sink; the streaming sums are the online
softmax of Milakov and Gimelshein 2018.

Ours: a head's numbers are means over destinations from position 1 on, because the first token can only look at itself.
Along the text they are means over neighbouring positions, of which there are at most `bins`. A key's share is its
weight summed over all destinations, divided by their number: the shares of a head add up to 1, and early tokens, which
more destinations see, can have more of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import plotly.graph_objects as go
from pydantic import Field

from analyses._attention import check_shown
from analyses._attention_streamed import read_statistics
from analyses._attention_streamed_figures import figures
from analyses._contract import Analysis, Column, Context, Frames, Inputs, Spec, shown

if TYPE_CHECKING:
    from hooks.model import Model


class StatisticsSpec(Spec):
    """Options of attention statistics."""

    layers: tuple[int, ...] = Field((), description="layers to read; none given means all")
    sink: int = Field(1, ge=1, description="how many first tokens are the sink")
    window: int = Field(64, ge=1, description="tokens nearer than this are recent, the token itself included")
    bins: int = Field(128, ge=1, le=1024, description="most points along the text; positions between are averaged")
    keys: int = Field(16, ge=0, le=256, description="how many of the most attended tokens to keep for each head")
    layer: int | None = shown(None, ge=0, description="layer drawn along the text; none means the first that was read")
    head: int = shown(0, ge=0, description="head whose most attended tokens are drawn")
    statistic: Literal["sink_mass", "entropy", "max_weight", "recent_mass", "mean_distance", "distance_deviation"] = (
        shown("sink_mass", description="which number is drawn")
    )


def run(model: Model, inputs: Inputs, spec: StatisticsSpec, context: Context) -> Frames:
    """Read the statistics of the chosen layers; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a prompt of fewer than two tokens or longer than the context, a layer that is not there, a sink as
            long as the prompt, or activations that are not finite.
    """
    return read_statistics(
        model, str(inputs.prompt), layers=spec.layers, sink=spec.sink, window=spec.window, bins=spec.bins,
        keys=spec.keys, progress=context.progress,
    )  # fmt: skip


def _check(model: Model, _inputs: Inputs, spec: StatisticsSpec) -> None:
    check_shown(model, spec.layers, spec.layer, spec.head)


def _figures(frames: Frames, spec: StatisticsSpec) -> dict[str, go.Figure]:
    return figures(frames, layer=spec.layer, head=spec.head, statistic=spec.statistic)


_HEAD = (Column("layer", "", "layer"), Column("head", "", "query head, from 0"))
_NUMBERS = (
    Column("entropy", "nats", "entropy of a destination's weights"),
    Column("max_weight", "fraction", "largest of a destination's weights"),
    Column("sink_mass", "fraction", "weight on the first `sink` tokens"),
    Column("recent_mass", "fraction", "weight on tokens nearer than `window`, the destination itself included"),
    Column("mean_distance", "tokens", "destination − source, mean under the weights"),
    Column("distance_deviation", "tokens", "standard deviation of destination − source under the weights"),
)

ANALYSIS = Analysis(
    name="attention_statistics",
    title="Attention statistics",
    family="Attention",
    question="What does every head's attention do over a long text?",
    meaning="Each number describes how a head spreads its attention over the tokens before, averaged over the text.",
    paper="Clark et al. 2019; Xiao et al. 2024 (attention sinks); Milakov and Gimelshein 2018 (online softmax)",
    needs=("prompt",),
    spec=StatisticsSpec,
    onward=("head_atlas", "attention_sinks"),
    run=run,
    figures=_figures,
    columns={
        "heads": (
            *_HEAD,
            Column("key_value_head", "", "key/value head that this head reads (shared in grouped-query attention)"),
            *_NUMBERS,
        ),
        "along": (
            *_HEAD,
            Column("first", "", "first position of the bin"),
            Column("last", "", "last position of the bin"),
            *_NUMBERS,
        ),
        "keys": (
            *_HEAD,
            Column("order", "", "0 is the token that the head looks at most"),
            Column("position", "", "the token's position"),
            Column("share", "fraction", "its weight summed over all destinations, over their number"),
        ),
        "tokens": (
            Column("position", "", "position, from 0"),
            Column("token", "", "the prompt's token"),
            Column("token_id", "", "its id"),
        ),
    },
    check=_check,
    pictures=lambda spec: ("heads", "along", "keys") if spec.keys else ("heads", "along"),
    example={
        "prompt": "When John and Mary went to the store, John gave a drink to",
        "spec": {"layer": 23, "head": 3, "window": 4},
    },
)
