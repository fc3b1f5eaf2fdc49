"""The logit lens: what would the model predict if it stopped after this layer?

The residual stream after every layer is read through the model's own final norm and unembedding, as if it were the
last one.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens". The divergence from the final layer as a measure of
how far a layer still is from the output is how Belrose et al. 2023 ("Eliciting latent predictions from transformers
with the tuned lens") compare lenses; they also show that this lens is biased in early layers, which is why the
distance is printed beside the words.

Ours: the first row, "embed", is the input of layer 0; row L is the output of layer L, so the last row is the model's
real output. KL is KL(output ‖ row), from the model's real output in either mode: without the final norm the last row
differs from it. Without targets, each position's target is the model's own most likely next token there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import plotly.graph_objects as go
from pydantic import Field

from analyses._contract import Analysis, Column, Context, Frames, Inputs, Spec, shown
from analyses._lens import read_lens
from analyses._lens_figures import PICTURES, figures
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class LensSpec(Spec):
    """Options of the logit lens."""

    top_k: int = Field(10, ge=1, le=50, description="how many of the most likely tokens to keep in every cell")
    targets: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        max_length=20,
        description="tokens to follow, each one token, a leading space included; none given means, at each position, "
        "the model's own most likely next token",
    )
    final_norm: bool = Field(True, description="apply the model's final norm before unembedding, as the model does")
    positions: tuple[int, ...] = Field(
        (), description="positions to read, from 0; negative ones count from the end; none given means all"
    )
    position: int | None = shown(
        None, description="position whose targets are drawn, negative ones from the last; none means the last read"
    )


def run(model: Model, inputs: Inputs, spec: LensSpec, context: Context) -> Frames:
    """Read every layer at every position of the prompt; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: empty or too long prompt, a target of several tokens, a position that is not there, more cells than
            a table can hold, or a layer whose logits are not numbers.
    """
    return read_lens(
        model,
        str(inputs.prompt),
        targets=spec.targets,
        positions=spec.positions,
        top_k=spec.top_k,
        final_norm=spec.final_norm,
        progress=context.progress,
    )


def _check(model: Model, inputs: Inputs, spec: LensSpec) -> None:
    if spec.position is None:
        return
    length = len(model.encode(str(inputs.prompt)))
    read = sorted({place % length for place in spec.positions}) or list(range(length))
    if not -length <= spec.position < length or spec.position % length not in read:
        known = ", ".join(map(str, read)) if spec.positions else f"0 to {length - 1}"
        raise InputError(f"option position = {spec.position}: the lens can be drawn at {known}")


def _figures(frames: Frames, spec: LensSpec) -> dict[str, go.Figure]:
    return figures(frames, position=spec.position, own_top=not spec.targets, final_norm=spec.final_norm)


_WHERE = (
    Column("layer", "", "layer whose output is read; −1 is the embedding, the input of layer 0"),
    Column("position", "", "token position, from 0"),
)

ANALYSIS = Analysis(
    name="logit_lens",
    title="Logit lens",
    question="What would the model predict if it stopped after this layer?",
    meaning="Each cell reads the residual stream after one layer, at one position, as if it were the model's output.",
    paper="nostalgebraist 2020 (logit lens); Belrose et al. 2023 (divergence from the final layer)",
    needs=("prompt",),
    spec=LensSpec,
    onward=("tuned_lens", "direct_logit_attribution"),
    run=run,
    figures=_figures,
    columns={
        "cells": (
            *_WHERE,
            Column("token", "", "the prompt's token at this position"),
            Column("token_id", "", "its id"),
            Column("entropy", "nats", "entropy of the distribution read here"),
            Column("kl_to_final", "nats", "KL(model's output ‖ distribution read here)"),
        ),
        "top": (
            *_WHERE,
            Column("order", "", "0 is the most likely; equal ones in order of their ids"),
            Column("token", "", "predicted token"),
            Column("token_id", "", "its id"),
            Column("probability", "fraction", "its probability"),
            Column("log_probability", "nats", "its log-probability"),
        ),
        "targets": (
            *_WHERE,
            Column("target", "", "followed token"),
            Column("target_id", "", "its id"),
            Column("rank", "count", "tokens that are more likely; 0 is the top"),
            Column("log_probability", "nats", "its log-probability"),
        ),
    },
    check=_check,
    pictures=lambda _spec: PICTURES,
    example={"prompt": "The capital of France is", "spec": {"targets": [" Paris"]}},
)
