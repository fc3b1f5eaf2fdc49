"""Outlier channels: which channels are far larger than the others, on which tokens, and does the model need them?

At one site the largest and mean |x| of every channel are read over all tokens of the texts, its kurtosis over tokens,
each token's kurtosis over channels, and how much of the norm a channel has. Outliers are then set to zero, or to their
mean, in one layer, and the change of the loss is held against that of equally many other channels.

Source: Dettmers et al. 2022, "LLM.int8()" and Kovaleva et al. 2021, "BERT Busters" (outlier dimensions, and what
removing them costs); Sun et al. 2024, "Massive Activations" (|x| above 100 and above 1,000 × the median).

Ours: a channel is an outlier of a layer if its mean |x| over all tokens is more than `factor` times that of the layer's
median channel. Kurtosis is the plain fourth moment over the squared variance: 3 for Gaussian values. Tokens are sinks
by the rule of `attention_sinks`, with its options. Victims are as many channels that are no outliers, one for each
outlier: the one whose weights in what reads the site next (norms folded in; queries, keys, values and MLP; the
unembedding after the last layer) have the nearest norm. Random channels are drawn among the others, several times, and
averaged within a text. The mean that a channel is set to is over the same kind of tokens of the other texts. Channels
are chosen on the texts whose loss is read, but the choice does not see the loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from pydantic import Field

from analyses._activations import Kind, Text, read_texts
from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs
from analyses.attention_sinks.finding import SinkSpec
from analyses.outlier_channels.ablating import Tokens, ablated_layers, arms, losses
from analyses.outlier_channels.changes import ABLATION, CONTRASTS, ablation_table, contrasts_table, said_of
from analyses.outlier_channels.choosing import Outliers, outliers
from analyses.outlier_channels.figures import figures, names
from analyses.outlier_channels.reading import Reading, read
from analyses.outlier_channels.tables import (
    CHANNELS,
    LAYERS,
    MASSIVE,
    TEXTS,
    VERDICT,
    channels_table,
    layers_table,
    massive_table,
    shares_of,
    texts_table,
    verdict_table,
)
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


class OutlierSpec(SinkSpec):
    """Options of outlier channels."""

    layers: tuple[int, ...] = layers_field("layers whose channels are read")
    site: Kind = Field("resid_post", description="whose channels: streams, what is added to them, or neurons")
    factor: float = Field(
        6.0, gt=1, description="a channel is an outlier with mean |x| above so many times the median's"
    )
    massive: float = Field(100.0, ge=0, description="a massive activation is above this")
    massive_times: float = Field(1000.0, ge=1, description="and above so many times the median |x| of text and layer")
    most: int = Field(64, ge=1, le=4096, description="channels told by layer, those farthest above the median channel")
    ablation: bool = Field(True, description="whether outliers are set to zero and to their mean, with the controls")
    ablated: tuple[int, ...] = Field(
        (), description="layers where they are set; none given means that with the largest share of norm on outliers"
    )
    acted_on: Tokens = Field("all", description="tokens where they are set")
    draws: int = Field(2, ge=1, le=64, description="draws of random channels")
    draw_seed: int = Field(0, ge=0, description="seed of these draws")


def run(model: Model, inputs: Inputs, spec: OutlierSpec, context: Context) -> Frames:
    """Read the channels and set the outliers; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `check` refuses; activations that are not finite.
    """
    check(model, inputs, spec)
    layers, texts = checked_layers(model, spec.layers), _texts(model, inputs, spec)
    share = 0.2 if spec.ablation else 1.0

    def reading_progress(fraction: float, label: str) -> None:
        context.progress(share * fraction, label)

    rule = (spec.massive, spec.massive_times)
    reading = read(model, texts, layers, spec.site, rule, spec, reading_progress)
    found = outliers(reading, spec.factor)
    raw = _ablate(model, texts, reading, found, layers, spec, context) if spec.ablation else {}
    ablation, contrasts = ablation_table(raw), contrasts_table(raw)
    said = said_of(contrasts, ablation)
    return {
        "verdict": verdict_table(reading, found, layers, spec.factor, said),
        "layers": layers_table(reading, found, layers),
        "channels": channels_table(model, texts, reading, found, layers, spec.most),
        "massive": massive_table(model, texts, reading),
        "ablation": ablation,
        "contrasts": contrasts,
        "texts": texts_table(texts, reading),
    }


def _ablate(
    model: Model, texts: list[Text], reading: Reading, found: Outliers, layers: list[int], spec: OutlierSpec,
    context: Context,
) -> dict[int, pd.DataFrame]:  # fmt: skip
    """By layer that has outliers, the losses of all texts."""
    generator = torch.Generator().manual_seed(spec.draw_seed)
    wanted = ablated_layers(spec.ablated, layers, found, shares_of(reading, found))
    raw = {}
    for layer, whole in steps(context, wanted, "layer", first=0.2):
        index = layers.index(layer)
        if not bool(found.chosen[index].any()):
            continue
        chosen, parts = arms(model, layer, spec.site, found.chosen[index], spec.draws, generator), []
        for (place, text), inner in steps(whole, list(enumerate(texts)), "text"):

            def compute(place: int = place, text: Text = text, inner: Context = inner) -> pd.DataFrame:
                site = Site(layer, spec.site)  # noqa: B023
                return losses(model, text, place, reading, site, index, chosen, spec.acted_on, inner.progress)  # noqa: B023

            parts.append(context.part(f"losses in layer {layer}, text {text.number}", compute).assign(text=text.number))
        raw[layer] = pd.concat(parts, ignore_index=True)
    return raw


def _texts(model: Model, inputs: Inputs, spec: OutlierSpec) -> list[Text]:
    why = f"a sink is judged by {spec.queries} later queries"
    texts = read_texts(model, inputs, max(spec.queries + 1, 2), why)
    if spec.ablation and len(texts) < 2:
        raise InputError("1 text is too few: a channel's mean is that of the other texts; give more, or --no-ablation")
    return texts


def check(model: Model, inputs: Inputs, spec: OutlierSpec) -> None:
    """Refuse sites and layers that are not there, texts too short, and one text where a mean of others is asked for."""
    layers = checked_layers(model, spec.layers)
    Site(layers[0], spec.site).check(model.geometry)
    for layer in spec.ablated:
        if layer not in layers:
            raise InputError(f"option ablated = {layer}: the layers that are read are {', '.join(map(str, layers))}")
    _texts(model, inputs, spec)


ANALYSIS = Analysis(
    name="outlier_channels",
    title="Outlier channels",
    family="Features",
    question="Which channels are far larger than the others, on which tokens, and does the model need them?",
    meaning="Mean |x| of a channel over the median channel's; what is lost without outliers, and without others.",
    paper="Dettmers et al. 2022, LLM.int8(); Kovaleva et al. 2021, BERT Busters; Sun et al. 2024, Massive Activations",
    needs=("texts",),
    spec=OutlierSpec,
    onward=("attention_sinks", "spectra"),
    run=run,
    figures=figures,
    columns={"verdict": VERDICT, "layers": LAYERS, "channels": CHANNELS, "massive": MASSIVE, "ablation": ABLATION,
             "contrasts": CONTRASTS, "texts": TEXTS},
    check=check,
    pictures=names,
    trial={"texts": ["When John and Mary went to the store", "the red book on the table and a cat", "a cat sat there"],
           "spec": {"queries": 2, "threshold": 0.1, "factor": 1.5, "massive": 0.1, "massive_times": 4}},
    example={"set": "domains", "limit": 2, "spec": {"draws": 1}},
)  # fmt: skip
