"""Attention patterns: where does every head look?

The weight that each token (destination) gives every token it may see (source), for chosen layers and all their heads,
and five numbers a head that say what kind of looking it is.

Source: Vaswani et al. 2017 for the weights; Vig 2019 ("A multiscale visualization of attention in the transformer
model") for drawing them head by head; Clark et al. 2019 ("What does BERT look at?") for entropy and offsets as
descriptions of a head; Xiao et al. 2024 for the sink on the first token.

Ours: per-head numbers are means over destinations from position 1 on, because the first token can only look at itself.
The T × T map is written out, so prompts are limited to 256 tokens; a weight says where a head looks, not what it moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import plotly.graph_objects as go
from pydantic import Field

from analyses._attention import MAX_TOKENS, check_shown, read_patterns
from analyses._attention_figures import figures
from analyses._contract import Analysis, Column, Context, Frames, Inputs, Spec, shown

if TYPE_CHECKING:
    from hooks.model import Model


class PatternSpec(Spec):
    """Options of attention patterns."""

    layers: tuple[int, ...] = Field((), description="layers to read; none given means all")
    layer: int | None = shown(None, ge=0, description="layer whose heads are drawn; none means the first that was read")
    head: int = shown(0, ge=0, description="head that is drawn enlarged")
    statistic: Literal["sink_mass", "entropy", "mean_distance", "previous_token", "self_token"] = shown(
        "sink_mass", description="which number of every head the overview colours"
    )


def run(model: Model, inputs: Inputs, spec: PatternSpec, context: Context) -> Frames:
    """Read the attention of every head of the chosen layers; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: empty prompt, one longer than the limit, a layer that is not there, more weights than a table holds,
            or weights that are not numbers.
    """
    return read_patterns(model, str(inputs.prompt), spec.layers, context.progress)


def _check(model: Model, _inputs: Inputs, spec: PatternSpec) -> None:
    check_shown(model, spec.layers, spec.layer, spec.head)


def _figures(frames: Frames, spec: PatternSpec) -> dict[str, go.Figure]:
    return figures(frames, layer=spec.layer, head=spec.head, statistic=spec.statistic)


_HEAD = (Column("layer", "", "layer"), Column("head", "", "query head, from 0"))

ANALYSIS = Analysis(
    name="attention_patterns",
    title="Attention patterns",
    family="Attention",
    question="Where does every head look?",
    meaning="Rows are the tokens that look (destinations), columns those looked at (sources); each row adds up to 1.",
    paper="Vaswani et al. 2017; Vig 2019; Clark et al. 2019; Xiao et al. 2024 (attention sinks)",
    needs=("prompt",),
    spec=PatternSpec,
    onward=("attention_knockout", "head_atlas"),
    run=run,
    figures=_figures,
    columns={
        "patterns": (
            *_HEAD,
            Column("destination", "", "position that looks, from 0"),
            Column("source", "", "position looked at, not after the destination"),
            Column("weight", "fraction", "attention weight; a destination's weights add up to 1"),
        ),
        "heads": (
            *_HEAD,
            Column("key_value_head", "", "key/value head that this head reads (shared in grouped-query attention)"),
            Column("entropy", "nats", "entropy of a row of weights, mean over destinations from 1 on"),
            Column("sink_mass", "fraction", "weight on position 0, mean over the same"),
            Column("mean_distance", "tokens", "destination − source, mean over weights and the same destinations"),
            Column("previous_token", "fraction", "weight on the token before, mean over the same"),
            Column("self_token", "fraction", "weight on the token itself, mean over the same"),
        ),
        "tokens": (
            Column("position", "", f"position, from 0; at most {MAX_TOKENS} tokens"),
            Column("token", "", "the prompt's token"),
            Column("token_id", "", "its id"),
        ),
    },
    check=_check,
    pictures=lambda _spec: ("layer", "head", "overview"),
    example={
        "prompt": "When John and Mary went to the store, John gave a drink to",
        "spec": {"layers": [23], "layer": 23, "head": 3},
    },
)
