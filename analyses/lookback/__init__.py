"""Lookback: how much does every head look at the context, and how much at what it has written itself?

The model continues a prompt, and for every new token, layer and head the lookback ratio is read on the way: the mean
weight to the tokens of the context, over that plus the mean weight to all tokens after it. Over many prompts stand the
mean ratio of every head, and how it changes from token to token: attention that drifts from the context to the model's
own words.

Source: Chuang et al. 2024, "Lookback Lens: Detecting and Mitigating Contextual Hallucinations in Large Language Models
Using Only Attention Maps", section 2: means and not sums, so that uniform attention gives 0.5 whatever the lengths; the
first token inside the context, uncorrected.

Ours: the slope, a line fitted to a head's ratio over the new tokens of each prompt, with its mean and interval over
prompts (those of one group resampled whole); `before` leaves the keys before the context out, and with them a sink
there. A kept detector's verdict stands beside the ratio: its P(right) on the mean ratios of the last tokens, as many as
its window has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from analyses._common import one_layer, steps
from analyses._contract import Analysis, Context, Frames, Inputs, an_artifact, shown
from analyses.lookback.figures import NAMES, figures
from analyses.lookback.reading import (
    ContextSpec,
    Item,
    drawing,
    items_of,
    prompt_item,
    read_item,
    refuse_long,
    text_end,
)
from analyses.lookback.tables import COLUMNS, tables
from hooks.errors import InputError
from hooks.lookback import likeliest

if TYPE_CHECKING:
    from hooks.model import Model


class LookbackSpec(ContextSpec):
    """Options of lookback."""

    context: str = Field("", description="of a single prompt, the part that is the context; tasks have it as a span")
    new: int = Field(24, ge=1, le=2000, description="tokens to write; an end of text ends them")
    temperature: float = Field(0.0, ge=0, le=5, description="0 writes the likeliest token; above, tokens are drawn")
    top_p: float = Field(0.95, gt=0, le=1, description="drawn from the likeliest tokens that hold this probability")
    draw_seed: int = Field(0, ge=0, description="seed of drawn tokens")
    detector: str | None = an_artifact("lookback_detector", "a kept detector whose verdict stands beside the ratio")
    shown_prompt: int = shown(0, ge=0, description="the prompt whose tokens are drawn, from 0")
    shown_layer: int | None = shown(None, ge=0, description="layer of the head whose ratio is drawn; none: mean of all")
    shown_head: int | None = shown(None, ge=0, description="head of that layer; none given means the layer's mean")


def run(model: Model, inputs: Inputs, spec: LookbackSpec, context: Context) -> Frames:
    """Continue every prompt and read the ratios; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: no context, one that splits a token or leaves nothing inside or after it, no new token at all, a
            detector of another model.
    """
    # The detector's folder reads with this one's parts, so that it is not there yet when this file is imported.
    from analyses.lookback_detector.detector import detector_of

    items = _items(model, inputs, spec)
    detector = None if spec.detector is None else detector_of(model, context.use("detector"), spec.before)
    window = 1 if spec.detector is None else int(context.use("detector").meta.get("window", 8))
    generator = torch.Generator().manual_seed(spec.draw_seed)
    choose = drawing(spec.temperature, spec.top_p, generator) if spec.temperature else likeliest
    ends = text_end(model)
    readings = [read_item(model, item, spec.new, ends, (), told.progress, choose)
                for item, told in steps(context, items, "prompt", last=0.9)]  # fmt: skip
    if not any(reading.tokens for reading in readings):
        raise InputError("no generated tokens: the model ends the text at once; give a prompt that asks for more")
    return tables(model, readings, detector, window)


def _items(model: Model, inputs: Inputs, spec: LookbackSpec) -> list[Item]:
    if inputs.prompt is not None:
        return [prompt_item(model, inputs.prompt, spec.context, spec)]
    if spec.context:
        raise InputError(
            f"option context = {spec.context[:40]!r}: tasks have their context as a span, named by span_role "
            f"({spec.span_role!r}); leave context empty"
        )
    return items_of(model, inputs.tasks, spec)


def _check(model: Model, inputs: Inputs, spec: LookbackSpec) -> None:
    items, shape = _items(model, inputs, spec), model.geometry
    if spec.shown_prompt >= len(items):
        raise InputError(f"shown_prompt {spec.shown_prompt} does not exist: valid are 0 to {len(items) - 1}")
    if spec.shown_layer is not None:
        one_layer(range(shape.n_layers), spec.shown_layer, "shown_layer")
    if spec.shown_head is not None and (spec.shown_layer is None or spec.shown_head >= shape.n_heads):
        raise InputError(
            f"shown_head {spec.shown_head}: give shown_layer too, and a head from 0 to {shape.n_heads - 1}"
        )
    refuse_long(model, items, spec.new)


_STORY = (
    "Report: The harbour of Lindholm was closed on Tuesday after a storm broke two cranes. Mayor Ana Petrov said that "
    "repairs would take nine days and that ships should sail to Kestrel Bay."
)

ANALYSIS = Analysis(
    name="lookback",
    title="Lookback ratios",
    family="Attention",
    question="How much does every head look at the context rather than at what the model has written since?",
    meaning="Lookback ratio: 1, all on the context; 0.5, as much to a token of either; 0, all on what came after.",
    paper="Chuang et al. 2024, Lookback Lens",
    needs=("prompt", "tasks"),
    spec=LookbackSpec,
    onward=("lookback_detector", "attention_knockout", "token_attribution"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda _spec: NAMES,
    trial=(
        {"prompt": "When John and Mary went to the store, John gave a drink to",
         "spec": {"context": "When John and Mary went to the store", "new": 4}},
        {"spec": {"span_role": "first_hop", "new": 4}},
    ),
    example={"prompt": f"{_STORY}\nSummary: On Tuesday", "spec": {"context": _STORY}},
)  # fmt: skip
