"""Attention sinks: which tokens take up attention that has nowhere to go, and what is special about them?

For every text it is found which tokens are sinks, how much weight each head puts on them, how small their value
vectors are against those of other tokens (drain), how long their residual stream is, layer by layer (peak), and which
channels of the stream are massive, and where. All from one forward a text; no tokens × tokens map is made.

Source: Xiao et al. 2023 ("Efficient Streaming Language Models with Attention Sinks") and Gu et al. 2024 ("When
Attention Sink Emerges": a head's sink is a token with more than 0.3 of the weight); Guo et al. 2024 ("Active-Dormant
Attention Heads": sink, value-state drain, residual-state peak; METHODS § 3); Sun et al. 2024 ("Massive Activations":
|activation| above 100 and above 1,000 × the median).

Ours: sinks are found, not assumed to be the first token. What a token receives is the mean of its weight over the
queries after it, its own left out; a token is a sink of a head from `threshold` on, and a sink of the text when it is
one of at least a `share` of the heads read. A token with fewer than `queries` later ones is not judged: with 8 of them,
attention that is uniform gives even the first token 0.23, below the threshold; with fewer it can pass. In a text
without a sink the token that is looked at most stands in, and every figure says so. Drain and peak are ratios of norms
inside a text, then means over texts. The median of Sun et al. is taken over all tokens and channels after a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses.attention_sinks.columns import COLUMNS
from analyses.attention_sinks.figures import NAMES, figures
from analyses.attention_sinks.finding import SinkSpec, find, read_texts
from analyses.attention_sinks.reading import read
from analyses.attention_sinks.tables import (
    Found,
    channels_table,
    heads_table,
    massive_table,
    norms_table,
    tokens_table,
)
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class SinksSpec(SinkSpec):
    """Options of attention sinks."""

    layers: tuple[int, ...] = layers_field()
    massive: float = Field(100.0, ge=0, description="a massive activation is larger than this")
    times: float = Field(1000.0, ge=0, description="and larger than this many times the layer's median")
    channels: int = Field(8, ge=1, le=64, description="channels of the largest activations to tell by layer")
    tokens: Literal["all", "first", "later"] = shown(
        "all", description="whose attention is drawn by head: all sinks, the first token, or the sinks after it"
    )
    text: int = shown(0, ge=0, description="text whose tokens are drawn")


def run(model: Model, inputs: Inputs, spec: SinksSpec, context: Context) -> Frames:
    """Read every text once; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a text too short to have a sink, or too long for the model; a layer that is not there; activations
            that are not finite.
    """
    layers, texts = checked_layers(model, spec.layers), read_texts(model, inputs, spec)
    found: list[Found] = []
    for text, inner in steps(context, texts, "text"):
        reading = read(model, text.ids, layers, progress=inner.progress)
        found.append((text, reading, find(reading.received, spec)))
    words = [model.str_tokens(text.ids[0].tolist()) for text in texts]
    massive = massive_table(found, words, layers, spec)
    described = pd.DataFrame([
        {"text": text.number, "begins": text.begins, "label": text.label, "tokens": text.total,
         "sinks": len(sinks.positions) if sinks.found else 0, "at": ", ".join(map(str, sinks.positions))}
        for text, _, sinks in found
    ])  # fmt: skip
    return {
        "texts": described,
        "heads": heads_table(found, layers),
        "tokens": tokens_table(found, words, spec),
        "peak": norms_table(found, layers, "stream"),
        "drain": norms_table(found, layers, "value"),
        "channels": channels_table(found, layers, massive, spec.channels),
        "massive": massive,
    }


def check(model: Model, inputs: Inputs, spec: SinksSpec) -> None:
    """Refuse layers that are not there, texts too short, and a text to draw that is not given."""
    checked_layers(model, spec.layers)
    texts = read_texts(model, inputs, spec)
    if spec.text >= len(texts):
        raise InputError(f"option text = {spec.text}: {len(texts)} given, valid are 0 to {len(texts) - 1}")


_PROMPT = (
    "The lighthouse keeper rose before dawn and climbed the stairs to the lamp. Far out a boat was moving towards the "
    "harbour, and the keeper knew that the harbour was closed."
)

ANALYSIS = Analysis(
    name="attention_sinks",
    title="Attention sinks",
    family="Attention",
    question="Which tokens take up attention that has nowhere to go, and what is special about them?",
    meaning="A sink takes much weight from most later tokens; small values and large streams are its usual marks.",
    paper="Xiao et al. 2023; Gu et al. 2024; Guo et al. 2024; Sun et al. 2024 (massive activations)",
    needs=("texts", "prompt"),
    spec=SinksSpec,
    onward=("sink_what_ifs", "active_dormant", "attention_knockout", "head_atlas"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    trial={"texts": [_PROMPT, "When John and Mary went to the store, John gave a drink to"],
           "spec": {"queries": 2, "threshold": 0.1}},
    example={"prompt": _PROMPT},
)  # fmt: skip
