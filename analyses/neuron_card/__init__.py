"""Neuron card: what does one MLP neuron read and write, when is it active, and what follows while it is held?

The tokens at both ends of each of its directions; its activation at every token of the prompt; and greedy continuations
with the neuron held at given values at every token, the prompt's and the new ones, beside the unchanged continuation
and beside other neurons of the same layer that are held so that what they write is as long.

Source: decoding of neurons through the LM head with clamping of a neuron to steer the output; Geva et al. 2022,
"Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space", who change neurons'
coefficients and read the output.

Ours: the activation that is held is the one that multiplies the output direction (`mlp_post`), for gated MLPs gate
times input; where no values are given they are such that what is written is 0.25, 0.5 and 1 typical lengths of the
residual stream long, of both signs, and 0. Controls are neurons drawn at random, all of one layer, and their value is
scaled by the ratio of output norms. One prompt: the numbers carry no interval, the controls' band is their range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from analyses._common import tokens_frame
from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses._neurons import Direction, NormUse, Words, directions_of, rows, words_of
from analyses.neuron_card.computing import Chosen, check_neuron, choose, clamped, lines_of, promoter, said_frame
from analyses.neuron_card.figures import NAMES, figures
from analyses.neuron_card.tables import COLUMNS
from analyses.neuron_reader.computing import words_frame
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class CardSpec(Spec):
    """Options of a neuron's card."""

    layer: int | None = Field(None, ge=0, description="its layer; none given means any, see pick")
    neuron: int | None = Field(
        None, ge=0, description="its number in the layer; none given means the one that pick says"
    )
    pick: Literal["writes_most", "promotes_target"] = Field(
        "writes_most", description="which one where no neuron is named: the one that writes most at the last token, or "
        "the one in whose output direction the target stands out most"
    )  # fmt: skip
    norm: NormUse = Field(
        "none", description="none: weights as they stand; final: the final norm's weights, and the MLP's, taken in"
    )
    most: int = Field(10, ge=1, le=100, description="tokens at either end of every direction")
    values: tuple[float, ...] = Field(
        (),
        description="activations to hold it at; none given means as much as writes 0, 0.25, 0.5 and 1 lengths of the "
        "residual stream, of both signs",
    )
    target: str | None = Field(
        None, min_length=1, description="token to follow; none given means the one that the neuron promotes most"
    )
    controls: int = Field(3, ge=1, le=50, description="other neurons of the layer, drawn at random, held as long")
    new_tokens: int = Field(12, ge=1, le=200, description="tokens of the continuations")
    draw_seed: int = Field(0, ge=0, description="seed of the controls")


def run(model: Model, inputs: Inputs, spec: CardSpec, context: Context) -> Frames:
    """Read one neuron and hold it; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a neuron that is not there or writes nothing, a target that is not one token, values that are not
            finite.
    """
    _check(model, inputs, spec)
    text = str(inputs.prompt)
    ids = model.tokens(text)
    named = spec.layer, spec.neuron
    if spec.pick == "promotes_target":
        named = promoter(model, model.single_token(str(spec.target)), spec.layer, spec.norm)
    chosen = choose(model, ids, *named)
    lines = lines_of(model, chosen, spec)
    context.progress(0.0, f"words of neuron {chosen.neuron} of layer {chosen.layer}")
    found = {name: _words(model, chosen, name, spec) for name in directions_of(model)}
    target = int(found["out"].promoted[0, 0]) if spec.target is None else model.single_token(spec.target)
    lines, said = clamped(model, ids, chosen, lines, target, spec.new_tokens, context)
    direction = rows(model, chosen.layer, "out", spec.norm)[chosen.neuron]
    words = pd.concat([words_frame(one).assign(direction=name) for name, one in found.items()], ignore_index=True)
    frames = {
        "card": pd.DataFrame([_card(model, chosen, target)]),
        "words": words.assign(token=model.str_tokens(list(words["token_id"]))),
        "activations": tokens_frame(model, model.encode(text)).assign(
            activation=chosen.activations.numpy().astype(float),
            written=chosen.activations.abs().numpy().astype(float) * chosen.out_norm,
            residual=chosen.residual.numpy().astype(float),
        ),
        "said": said_frame(model, lines, said, direction, found["out"]),
    }
    texts = frames["said"].groupby("line")["token_id"].agg(list)
    written = [str(model.tokenizer.decode(texts.get(line, []))) for line in lines["line"]]
    frames["clamps"] = lines.assign(text=written)
    return {name: frames[name][[column.name for column in columns]] for name, columns in COLUMNS.items()}


def _words(model: Model, chosen: Chosen, direction: Direction, spec: CardSpec) -> Words:
    one = rows(model, chosen.layer, direction, spec.norm)[chosen.neuron : chosen.neuron + 1]
    return words_of(one, model.W_U, spec.most)


def _card(model: Model, chosen: Chosen, target: int) -> dict[str, object]:
    norms = {
        f"{name}_norm": float(rows(model, chosen.layer, name)[chosen.neuron].norm()) for name in directions_of(model)
    }
    return {
        "layer": chosen.layer, "neuron": chosen.neuron, "gate_norm": np.nan, **norms,
        "target": model.str_tokens([target])[0], "target_id": target, "typical": chosen.typical,
    }  # fmt: skip


def _check(model: Model, inputs: Inputs, spec: CardSpec) -> None:
    check_neuron(model, spec)
    wrong = [value for value in spec.values if not np.isfinite(value)]
    if wrong:
        raise InputError(f"value {wrong[0]} to hold a neuron at: give finite numbers")
    if spec.most > model.W_U.shape[1]:
        raise InputError(f"option most = {spec.most}: the vocabulary has {model.W_U.shape[1]} tokens")
    if spec.target is not None:
        model.single_token(spec.target)
    if spec.pick == "promotes_target" and (spec.target is None or spec.neuron is not None):
        lacking = "name the token (--target)" if spec.target is None else f"neuron {spec.neuron} is named already"
        raise InputError(f"option pick = promotes_target finds a token's neuron: {lacking}")
    length = len(model.encode(str(inputs.prompt)))
    if length + spec.new_tokens > model.geometry.n_ctx:
        raise InputError(
            f"{length} tokens and {spec.new_tokens} new ones are too many: {model.identity.name} reads at most "
            f"{model.geometry.n_ctx}"
        )


ANALYSIS = Analysis(
    name="neuron_card",
    title="Neuron card",
    family="Features",
    question="What does one neuron read and write, and what does the model say while it is held at a value?",
    meaning="The neuron's tokens, its activation in the prompt, and continuations while it is held, beside other "
    "neurons that write as much.",
    paper="LM-head decoding of neurons; Geva et al. 2022, Feed-Forward Layers Build Predictions",
    needs=("prompt",),
    spec=CardSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda _spec: NAMES,
    onward=("neuron_reader",),
    trial={"spec": {"layer": 1, "neuron": 3, "most": 4, "values": [-2.0, 0.0, 2.0], "controls": 2, "new_tokens": 3}},
    example={"prompt": "The red house is older", "spec": {"layer": 24, "neuron": 917, "new_tokens": 8}},
)
