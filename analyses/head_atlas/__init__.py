"""Head atlas: what does every head's attention do, over texts and over prompts made to show copying?

One streaming pass a text, never a map of tokens × tokens: entropy over the log of the number of visible keys, weight by
distance, on recent tokens, on the token before, on the first token and on tokens found to be sinks. One pass a drawn
prompt: weight on the earlier occurrence of a token (duplicate) and on the token after it (induction) in random tokens
repeated once; weight on tokens after matches of two and three tokens in walks of small random automata. From the
weights: the effective rank of W_V W_O. Heads are clustered by their scores.

Source: Clark et al. 2019 and Olsson et al. 2022 for the scores; Akyürek et al. 2024 for n-gram heads and automata; Roy
and Vetterli 2007 for the effective rank; Jha and Reagen 2024 for collapse and overload (METHODS § 10).

Ours: a head is collapsed where its mean entropy is in the lowest quarter of its range, overloaded in the highest; heads
parked on the first token collapse by that, so read the flag beside sink mass. Nothing is put before a drawn prompt, and
the first repeated token is no query. The walk's scores take queries whose longer match is rarer than the shorter one;
the gain is the weight beyond what an even spread over the shorter match would give. A sink gets from later queries, on
average over heads, `sink_times` the weight that uniform attention would give it. The rank is of the weights as they
are, without the norm's scale, and of W_V W_O alone, not of outputs. The distance profile tells the first token apart.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, one_layer, steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.head_atlas import tables
from analyses.head_atlas.columns import COLUMNS
from analyses.head_atlas.computing import drawn_part, read_texts, text_part, weights_part
from analyses.head_atlas.figures import NAMES, behind, figures
from analyses.head_atlas.prompts import drawn_prompts
from analyses.head_atlas.scores import distance_edges
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

ScoreName = Literal[
    "entropy", "recency_mass", "previous_token", "sink_first", "sink_found", "duplicate_token", "induction",
    "induction_2", "induction_3", "gain_2", "gain_3",
]  # fmt: skip


class AtlasSpec(Spec):
    """Options of the head atlas."""

    layers: tuple[int, ...] = layers_field()
    recent: int = Field(8, ge=1, description="tokens nearer than this are recent, the query itself included")
    collapse: float = Field(0.25, ge=0, le=1, description="heads whose mean entropy is below this are collapsed")
    overload: float = Field(0.75, ge=0, le=1, description="heads whose mean entropy is above this are overloaded")
    sink_times: float = Field(
        4.0, gt=1, description="a sink gets this many times the weight from later queries that uniform attention gives"
    )
    prompts: int = Field(4, ge=1, le=64, description="drawn prompts of each kind")
    repeat_length: int = Field(32, ge=4, description="random tokens that are repeated once")
    automaton_length: int = Field(96, ge=16, description="tokens of an automaton's walk")
    draw_seed: int = Field(0, ge=0, description="seed of the drawn prompts and of the clusters' starts")
    clusters: int = Field(6, ge=2, le=32, description="clusters of heads")
    examples: int = Field(6, ge=1, le=64, description="strongest weights kept for each head")
    score: ScoreName = shown("induction", description="score drawn for every head")
    only: Literal["all", "collapsed", "overloaded"] = shown("all", description="flag of the heads that are drawn")
    only_cluster: int | None = shown(None, ge=0, description="cluster of the heads that are drawn; none means all")
    least: float | None = shown(None, description="heads with a lower score are not drawn; none means all are")
    x_score: ScoreName = shown("previous_token", description="score along the scatter's x axis")
    y_score: ScoreName = shown("sink_first", description="score along the scatter's y axis")
    layer: int | None = shown(None, ge=0, description="layer whose head's distances are drawn; none means the first")
    head: int = shown(0, ge=0, description="head whose distances are drawn")


def run(model: Model, inputs: Inputs, spec: AtlasSpec, context: Context) -> Frames:
    """Read every text and every drawn prompt; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a layer that is not there, texts that are too short, drawn prompts that the model cannot read, or
            more clusters than heads.
    """
    check(model, inputs, spec)
    layers, texts = checked_layers(model, spec.layers), read_texts(model, inputs, spec.recent)
    drawn = drawn_prompts(model, spec)
    edges = distance_edges(max(len(text.ids) for text in texts))
    ranks = context.part("weights", partial(weights_part, model, layers, context.progress))
    parts = []
    for text, inner in steps(context, texts, "text", first=0.1, last=0.6):
        compute = partial(text_part, model, text, spec, layers, edges, inner.progress)
        parts.append(context.part(f"text {text.number}", compute).assign(number=text.number))
    copied = []
    for one, inner in steps(context, drawn, "drawn prompt", first=0.6, last=0.95):
        compute = partial(drawn_part, model, one, layers, inner.progress)
        copied.append(context.part(f"{one.kind} {one.number}", compute).assign(number=one.number))
    context.progress(0.95, "tables")
    read = pd.concat(parts, ignore_index=True)
    values = tables.values_table(pd.concat([read, *copied], ignore_index=True))
    heads = tables.heads_table(values, ranks, model, spec)
    return {
        "heads": heads,
        "distances": tables.distances_table(read, edges),
        "examples": tables.examples_table(read, texts, model, spec.examples),
        "clusters": tables.clusters_table(heads),
        "sinks": tables.sinks_table(read, texts, model),
        "texts": tables.texts_table(texts, drawn, model),
        "values": values,
    }


def check(model: Model, inputs: Inputs, spec: AtlasSpec) -> None:
    """Refuse what this model and these texts cannot show, and pictures of heads that are not read."""
    layers = checked_layers(model, spec.layers)
    one_layer(layers, spec.layer)
    n_heads = model.geometry.n_heads
    if spec.head >= n_heads:
        raise InputError(f"option head = {spec.head}: valid heads are 0 to {n_heads - 1}")
    if spec.clusters > len(layers) * n_heads:
        raise InputError(
            f"option clusters = {spec.clusters}: {len(layers)} layers of {n_heads} heads make at most "
            f"{len(layers) * n_heads} clusters"
        )
    if spec.collapse >= spec.overload:
        raise InputError(f"collapse {spec.collapse:g} must be below overload {spec.overload:g}")
    read_texts(model, inputs, spec.recent)
    drawn_prompts(model, spec)


ANALYSIS = Analysis(
    name="head_atlas",
    title="Head atlas",
    family="Attention",
    question="What does every head's attention do: look back one token, copy, park on a sink, spread?",
    meaning="Each number is a mean weight of a head's attention; click a head of the map for its strongest weights.",
    paper="Clark et al. 2019; Olsson et al. 2022 (induction); Akyürek et al. 2024 (n-gram heads)",
    needs=("texts", "prompt"),
    spec=AtlasSpec,
    onward=("attention_patterns", "attention_knockout", "component_ablation", "path_patching"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    detail=behind,
    trial={
        "texts": ["When John and Mary went to the store, John gave a drink to", "the red book on the table"],
        "spec": {"recent": 3, "prompts": 2, "repeat_length": 6, "automaton_length": 40, "clusters": 3, "examples": 2},
    },
    example={
        "prompt": (
            "The lighthouse keeper rose before dawn and climbed the stairs to the lamp. Far out a boat was moving "
            "towards the harbour, and the keeper knew that the harbour was closed."
        ),
        "spec": {"prompts": 2},
    },
)
