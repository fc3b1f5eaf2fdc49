"""Sink what-ifs: what does a model lose when its attention sinks are hidden, removed, added, or made needless?

Every text is read as it is, and again under each what-if; the losses of the same tokens are compared by position.
masked: no later query sees the sinks, which are found in each text. removed: the text without its first token. bos: one
special token in front, where the text does not begin with it. added: several of it in front. lambda: every query sees
the first tokens and the last ones only. clipped: clipped softmax in every layer, which lets a head attend to nothing
without a sink.

Source: Xiao et al. 2023 (sink tokens, StreamingLLM); Han et al. 2023 (Λ-mask, LM-Infinite; METHODS § 10); Bondarenko et
al. 2023, "Quantizable Transformers" (clipped softmax, clip((ζ − γ) · softmax + γ, 0, 1)).

Ours: nothing is trained: Bondarenko et al. train with clipped softmax, here it is put into a model that learnt without,
and a weight below −γ / (ζ − γ) is lost to it. With the Λ-mask only what is seen changes, positions stay (see
`mask_edits`, which also edits layers one by one). Losses are those of tokens from the third on, which every what-if
predicts; with tokens in front or the first one removed they stand at other positions for the model, but are told at
their own. Loss is averaged inside a text first, so intervals are over texts, and the change is paired inside a text.
The pattern is written out, for one layer at a time, by clipped softmax alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses.attention_sinks.finding import SinkSpec, Text, read_texts
from analyses.sink_what_ifs.computing import WHAT_IFS, WhatIf, front_token, text_frame
from analyses.sink_what_ifs.figures import NAMES, figures
from analyses.sink_what_ifs.tables import POSITIONS, TEXTS, TOTAL, VALUES, bins_table, total_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class WhatIfSpec(SinkSpec):
    """Options of sink what-ifs."""

    what_ifs: tuple[WhatIf, ...] = Field((), description="which to run; none given means all")
    layers: tuple[int, ...] = layers_field("layers in which attention is changed (masked, lambda, clipped)")
    added: int = Field(4, ge=0, le=64, description="added: tokens put in front")
    token: str | None = Field(
        None, min_length=1, description="bos, added: the token put in front; none means the tokenizer's own first token"
    )
    window: int = Field(32, ge=1, description="lambda: tokens that a query sees, itself included")
    sinks: int = Field(4, ge=0, description="lambda: first tokens that every query sees")
    gamma: float = Field(-0.03, ge=-1, le=0, description="clipped: γ, how far weights are stretched below 0")
    zeta: float = Field(1.0, ge=1, le=2, description="clipped: ζ, how far weights are stretched above 1")
    bins: int = Field(16, ge=1, le=512, description="bins of positions, at most")
    drawn: tuple[WhatIf, ...] = shown((), description="which what-ifs are drawn by position; none given means all")


def run(model: Model, inputs: Inputs, spec: WhatIfSpec, context: Context) -> Frames:
    """Read every text plain and under each what-if; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `check` refuses; activations that are not finite.
    """
    texts, front = check(model, inputs, spec)
    layers = checked_layers(model, spec.layers)
    parts = []
    for text, inner in steps(context, texts, "text"):
        compute = partial(text_frame, model, text, spec, layers, front, inner.progress)
        part = context.part(f"text {text.number}", compute)
        parts.append(part.assign(text=text.number, label=text.label))
    raw = pd.concat(parts, ignore_index=True)
    values = raw[[column.name for column in VALUES]]
    (word,) = model.str_tokens([front])
    described = pd.DataFrame([
        {"text": text.number, "label": text.label, "begins": text.begins, "tokens": text.total,
         "found": bool(part["found"].iloc[0]), "at": str(part["at"].iloc[0]), "front": word}
        for text, part in zip(texts, parts, strict=True)
    ])  # fmt: skip
    return {"total": total_table(values), "positions": bins_table(values, spec.bins), "texts": described,
            "values": values.reset_index(drop=True)}  # fmt: skip


def check(model: Model, inputs: Inputs, spec: WhatIfSpec) -> tuple[list[Text], int]:
    """The texts and the id of the token put in front. Refuses what is too short or too long, and tokens not there."""
    checked_layers(model, spec.layers)
    texts, front = read_texts(model, inputs, spec), front_token(model, spec.token)
    asked = spec.what_ifs or WHAT_IFS
    if missing := [name for name in spec.drawn if name not in asked]:
        raise InputError(f"option drawn = {missing[0]}: the what-ifs that are run are {', '.join(asked)}")
    most = max(spec.added if "added" in asked else 0, 1 if "bos" in asked else 0)
    for text in texts:
        if text.total < 3:
            raise InputError(f"text {text.number}, {text.begins!r}, has {text.total} tokens: at least 3 are needed")
        if text.total + most > model.geometry.n_ctx:
            raise InputError(
                f"text {text.number} has {text.total} tokens and {most} are put in front: {model.identity.name} reads "
                f"at most {model.geometry.n_ctx}"
            )
    return texts, front


def _check(model: Model, inputs: Inputs, spec: WhatIfSpec) -> None:
    check(model, inputs, spec)


_PROMPT = (
    "The lighthouse keeper rose before dawn and climbed the stairs to the lamp. Far out a boat was moving towards the "
    "harbour, and the keeper knew that the harbour was closed."
)

ANALYSIS = Analysis(
    name="sink_what_ifs",
    title="Sink what-ifs",
    family="Attention",
    question="What does a model lose when its attention sinks are hidden, removed, added, or made needless?",
    meaning="Loss of the same tokens with the sinks or the attention changed; above 0, the model predicts worse.",
    paper="Xiao et al. 2023; Han et al. 2023 (Λ-mask); Bondarenko et al. 2023 (clipped softmax)",
    needs=("texts", "prompt"),
    spec=WhatIfSpec,
    onward=("attention_sinks", "mask_edits"),
    run=run,
    figures=figures,
    columns={"total": TOTAL, "positions": POSITIONS, "texts": TEXTS, "values": VALUES},
    check=_check,
    pictures=lambda _spec: NAMES,
    trial={"texts": [_PROMPT, "When John and Mary went to the store, John gave a drink to"],
           "spec": {"queries": 2, "threshold": 0.1, "window": 6}},
    example={"prompt": _PROMPT, "spec": {"window": 12}},
)  # fmt: skip
