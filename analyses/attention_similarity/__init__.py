"""Attention similarity: which layers and heads look at the same tokens, and can one layer use another's pattern?

Two patterns are compared row by row: what a query of one head gives to each key beside what the same query of the other
head gives. The mean over queries is a number between 0 and 1; of layers, heads are averaged first. Then the test that
similarity alone is not: layer j computes with layer i's pattern and its own values, and the loss of the next token is
read, for every i at most `reach` layers from j.

Source: Xiao et al. 2019 ("Sharing attention weights for fast Transformer": Jensen–Shannon similarity of layers, reuse);
Bhojanapalli et al. 2021 ("Leveraging redundancy in attention with reuse Transformers").

Ours: rows are made for a block of queries at a time, so the memory grows with the text and not with its square.
Jensen–Shannon similarity is 1 − divergence / log 2; the other choice is the cosine of rows. Heads that are parked on
the first token look alike by that alone: without `first_token` rows are compared over the other keys, of which the
weights are made to add up to 1 again. Queries that see one key are left out. The donor's pattern is that of the
unedited run, in all heads, head by head; nothing is trained afterwards, unlike in both papers. The diagonal is a run of
its own beside the others, equal to the last bit, and is not tested; the other cells are tested together.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.attention_similarity import tables
from analyses.attention_similarity.computing import read_texts, reuse_part, similarity_part
from analyses.attention_similarity.figures import behind, figures, names
from analyses.attention_similarity.similar import Measure
from analyses.attention_similarity.tables import COLUMNS
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class SimilaritySpec(Spec):
    """Options of attention similarity."""

    layers: tuple[int, ...] = layers_field("layers to compare, two or more")
    head_layers: tuple[int, ...] = Field(
        (), description="layers, of those, whose heads are compared one by one; none given means the middle two"
    )
    measure: Measure = Field("js", description="js: 1 − Jensen–Shannon divergence / log 2; cosine: of the rows")
    first_token: bool = Field(True, description="compare the weight on the first token too")
    reach: int = Field(1, ge=0, description="patterns are reused up to so many layers away; 0 leaves reuse out")
    hide_uncertain: bool = shown(
        False, description="grey out changes of the loss not told from zero (false discovery rate 5%)"
    )


def run(model: Model, inputs: Inputs, spec: SimilaritySpec, context: Context) -> Frames:
    """Compare patterns and reuse them; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a text of fewer than three tokens, fewer than two layers, a layer that is not there.
    """
    check(model, inputs, spec)
    layers, texts = checked_layers(model, spec.layers), read_texts(model, inputs)
    chosen = _head_layers(layers, spec)
    parts, values = [], []
    for text, inner in steps(context, texts, "text", last=0.3 if spec.reach else 1.0):
        compute = partial(similarity_part, model, text, layers, chosen, spec, inner.progress)
        parts.append(context.part(f"similarity {text.number}", compute).assign(text=text.number))
    for text, inner in steps(context, texts if spec.reach else [], "reuse in text", first=0.3):
        compute = partial(reuse_part, model, text, layers, spec, inner.progress)
        values.append(context.part(f"reuse {text.number}", compute).assign(text=text.number))
    compared = pd.concat(parts, ignore_index=True)
    columns = [column.name for column in COLUMNS["reuse_values"]]
    reused = pd.concat(values, ignore_index=True)[columns] if values else pd.DataFrame({name: [] for name in columns})
    return {
        "layers": tables.layers_table(compared, layers),
        "heads": tables.heads_table(compared, chosen, model.geometry.n_heads),
        "reuse": tables.reuse_table(reused),
        "values": tables.values_table(compared, layers),
        "reuse_values": reused,
        "texts": tables.texts_table(texts),
    }


def check(model: Model, inputs: Inputs, spec: SimilaritySpec) -> None:
    """Refuse layers that cannot be compared, and texts without a choice for a head."""
    layers = checked_layers(model, spec.layers)
    if len(layers) < 2:
        raise InputError(f"one layer, {layers[0]}, has nothing to be compared with: give two or more, or none for all")
    if strange := sorted({*spec.head_layers} - {*layers}):
        raise InputError(
            f"head_layers {', '.join(map(str, strange))}: the layers that are compared are "
            f"{', '.join(map(str, layers))}"
        )
    read_texts(model, inputs)


def _head_layers(layers: list[int], spec: SimilaritySpec) -> list[int]:
    middle = (len(layers) - 1) // 2
    return sorted(set(spec.head_layers)) or layers[middle : middle + 2]


ANALYSIS = Analysis(
    name="attention_similarity",
    title="Attention similarity",
    family="Attention",
    question="Which layers and heads look at the same tokens, and can one layer use another's attention pattern?",
    meaning="Similarity of what queries look at; and the change of the loss when a layer uses another's pattern.",
    paper="Xiao et al. 2019 (sharing attention weights); Bhojanapalli et al. 2021 (reuse Transformers)",
    needs=("texts", "prompt"),
    spec=SimilaritySpec,
    onward=("head_atlas", "attention_knockout", "layer_paste"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=names,
    detail=behind,
    trial={"texts": ["When John and Mary went to the store", "the red book on the table"]},
    example={
        "prompt": (
            "The lighthouse keeper rose before dawn and climbed the stairs to the lamp. Far out a boat was moving "
            "towards the harbour, and the keeper knew that the harbour was closed."
        ),
        "spec": {"layers": [12, 13, 14, 15, 16, 17], "reach": 2},
    },
)
