"""Neuron reader: which tokens does every MLP neuron write, and which does it read?

What a neuron writes to the residual stream and what it reads there are directions; each is multiplied by the
unembedding, and the tokens at both ends are kept for every neuron of every layer. The index is a table ordered by
token, so that all neurons of a token are one line of SQL. A second model of the same architecture, tuned from this one
or an earlier checkpoint, is read in the same way and compared neuron by neuron.

Source: decoding of up-projection weights through the LM head, where over three quarters of neurons keep their first
token through instruction tuning; output directions as in Geva et al. 2022, "Transformer Feed-Forward Layers Build
Predictions by Promoting Concepts in the Vocabulary Space".

Ours: input, gate and output directions side by side; the final norm (and for inputs the norm before the MLP) is an
option, since the source leaves it open; values are products, not probabilities, with their distance from the mean over
the vocabulary; a thousand Gaussian directions say how far any direction's first token stands out; agreement stands
beside what neurons paired at random would give. A population is counted here, so shares have no intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, tokens_frame
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, another_model, shown
from analyses._neurons import Direction, NormUse, chosen_directions
from analyses.neuron_reader.computing import neurons_frame, random_words, read_words
from analyses.neuron_reader.figures import figures, names
from analyses.neuron_reader.tables import COLUMNS, agreement_table, layers_table, weights_table, words_index
from hooks.errors import InputError
from hooks.transplant import check_twins

if TYPE_CHECKING:
    from hooks.model import Model


class ReaderSpec(Spec):
    """Options of the neuron reader."""

    layers: tuple[int, ...] = layers_field()
    directions: tuple[Direction, ...] = Field(
        (), description="out: what a neuron writes; in: what it reads; gate: what opens it; none given means all"
    )
    norm: NormUse = Field(
        "none", description="none: weights as they stand; final: the final norm's weights, and the MLP's, taken in"
    )
    most: int = Field(3, ge=1, le=50, description="tokens kept at either end of every direction")
    other: str | None = another_model(
        "a model to compare with, neuron by neuron: tuned from this one, or a checkpoint; untrained:NAME is a floor"
    )
    token: str | None = shown(
        None, min_length=1, description="draw the neurons of this token; none given: those that stand out most"
    )
    alike: bool = shown(True, description="count tokens that differ from it in capitals or spaces around it as well")
    side: Literal["promoted", "suppressed"] = shown("promoted", description="which end is drawn")
    look_in: Literal["any", "out", "in", "gate"] = shown("any", description="which directions are drawn")
    hits: int = shown(20, ge=1, le=60, description="bars drawn")


def run(model: Model, inputs: Inputs, spec: ReaderSpec, context: Context) -> Frames:
    """Read every neuron's words and its activations in the prompt; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a layer or direction that is not there, more tokens than the vocabulary has, a second model that is
            not of the same architecture with the same vocabulary.
    """
    _check(model, inputs, spec)
    layers, directions = checked_layers(model, spec.layers), chosen_directions(model, spec.directions)
    other: Model | None = None if spec.other is None else context.use("other")
    if other is not None:
        _twins(model, other)
    halves = 0.9 if other is None else 0.45
    asked = (layers, directions, spec.norm, spec.most, context)
    words = read_words(model, *asked, first=0.0, last=halves)
    theirs = pd.DataFrame() if other is None else read_words(other, *asked, "other's words", first=halves, last=0.9)
    context.progress(0.9, "activations in the prompt, and the index")
    texts = model.str_tokens(range(model.W_U.shape[1]))
    text = str(inputs.prompt)
    frames = {
        "words": words_index(words, texts),
        "neurons": neurons_frame(model, text, layers),
        "layers": layers_table(words, random_words(model, spec.norm, spec.most), texts),
        "agreement": agreement_table(words, theirs),
        "weights": weights_table(model, other, layers, directions),
        "prompt": tokens_frame(model, model.encode(text)),
    }
    return {name: frame[[column.name for column in COLUMNS[name]]] for name, frame in frames.items()}


def _twins(model: Model, other: Model) -> None:
    try:
        check_twins(model, other)
    except InputError as error:
        differing = str(error).partition("; ")[2]
        raise InputError(
            f"neurons are compared one by one, between checkpoints of one architecture; {differing}"
        ) from None


def _check(model: Model, _inputs: Inputs, spec: ReaderSpec) -> None:
    checked_layers(model, spec.layers)
    read = chosen_directions(model, spec.directions)
    if spec.look_in not in ("any", *read):
        raise InputError(f"option look_in = {spec.look_in}: the directions that are read are {', '.join(read)}")
    if spec.most > model.W_U.shape[1]:
        raise InputError(f"option most = {spec.most}: the vocabulary has {model.W_U.shape[1]} tokens")
    if spec.token is not None and not (spec.alike and _one_token(model, " " + spec.token.strip())):
        model.single_token(spec.token)


def _one_token(model: Model, text: str) -> bool:
    return len(model.encode(text)) == 1


ANALYSIS = Analysis(
    name="neuron_reader",
    title="Neuron reader",
    family="Features",
    question="Which tokens does every MLP neuron write and read, and which neurons belong to a token?",
    meaning="A long bar: this token stands out among all tokens in the neuron's direction; how far one stands out in "
    "random directions is in the notes.",
    paper="LM-head decoding of neurons; Geva et al. 2022, Feed-Forward Layers Build Predictions",
    needs=("prompt",),
    spec=ReaderSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=names,
    onward=("neuron_card",),
    trial={"spec": {"other": "untrained:toy:random", "most": 2}},
    example={
        "prompt": "The red house is older than the blue one",
        "spec": {"layers": [24], "directions": ["out", "in"], "token": " than"},
    },
)
