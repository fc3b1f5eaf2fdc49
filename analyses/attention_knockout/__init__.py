"""Attention knockout: which tokens does the answer read, and in which layers?

Attention from a set of queries (by default the last token) to a set of keys is cut in a window of layers around each
layer: the scores there are set to minus infinity before the softmax, so what is left is shared among the other keys.
Read are the change of the answer's log-probability, its relative change in percent, and whether the likeliest next
token changes.

Source: Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", section 4;
Biran et al. 2024, "Hopping Too Late" (windows of three layers to either side, one answer for another counts as
unchanged; METHODS § 1).

Ours: sources are roles of spans, the tokens of no span, the first token, the looking token itself, or tokens one by
one. The first token stays visible when a span or the tokens of no span are hidden, unless asked otherwise: models park
attention there, and hiding that place does harm whatever the token says; a source that is nothing else is marked, and a
control can hide as many other tokens, drawn at random. A query that would be left without any key keeps itself. Where
no query sees anything of a source nothing is hidden, and there is no effect rather than one of zero. The answer is the
token that begins it, for a bare prompt the model's own next token. Intervals are over prompts, Wilson's for shares. A
share is never below zero: it is marked against its control alone. Prompts of one group, or one text, are one cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, clusters_of, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses._questions import Question, answered, best_rank, check_spans, read_questions
from analyses.attention_knockout.blocking import (
    ALL,
    EACH,
    ITSELF,
    LAST,
    OTHER,
    SOURCES,
    START,
    knocked,
    looking,
    sources_of,
    without_first,
)
from analyses.attention_knockout.controls import controls_of
from analyses.attention_knockout.figures import figures
from analyses.attention_knockout.tables import EFFECTS, PROMPTS, VALUES, effects_table, no_position
from hooks.errors import InputError
from hooks.metrics import log_prob_of_any

if TYPE_CHECKING:
    from hooks.model import Model


class KnockoutSpec(Spec):
    """Options of attention knockout."""

    sources: tuple[str, ...] = Field(
        (),
        description="keys to hide: roles of spans, other (tokens of no such span), first, itself (the looking token), "
        "all, each (one by one, of one prompt), or token indices; none given means each of one prompt, else every "
        "span, other, first and itself",
    )
    keep_first: bool = Field(
        True, description="the first token, where attention is parked, stays visible unless it is the source itself"
    )
    queries: str = Field(LAST, min_length=1, description="who no longer sees them: last, all, a span's role or index")
    reach: int = Field(3, ge=0, le=200, description="layers to either side of each in which they are hidden")
    layers: tuple[int, ...] = layers_field("layers to hide them around")
    controls: int = Field(
        0,
        ge=0,
        le=16,
        description="beside each span, other and first: hide as many other tokens instead, so many draws",
    )
    draw_seed: int = Field(0, ge=0, description="seeds the control's tokens")
    answered_only: bool = Field(False, description="only prompts whose likeliest next token begins the answer")
    aliases: bool = Field(False, description="the first token of any accepted answer counts, not the gold one's alone")
    metric: Literal["log_prob", "probability", "changed"] = shown(
        "log_prob", description="what the figure shows: change of the log-probability, of the probability in percent, "
        "or how often the next token changes",
    )  # fmt: skip


def run(model: Model, inputs: Inputs, spec: KnockoutSpec, context: Context) -> Frames:
    """Hide every source around every layer in every prompt; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a span or token that is not there, or a layer that is not there.
    """
    words = chosen_sources(inputs, spec)
    centres = checked_layers(model, spec.layers)
    questions = read_questions(model, inputs, _roles(inputs, words, spec), aliases=spec.aliases)
    questions = answered(model, questions) if spec.answered_only else questions
    thin = without_first if spec.keep_first else list
    plans = []
    for one in questions:
        queries, sources = looking(spec.queries, one), thin(sources_of(words, one))
        plans.append((one, queries, [*sources, *controls_of(sources, one, queries, spec.controls, spec.draw_seed)]))
    rows = []
    for (one, queries, sources), inner in steps(context, plans, "prompt"):
        compute = partial(knocked, model, one, queries, sources, centres, spec.reach, inner.progress)
        rows.append(context.part(f"prompt {one.number}", compute).assign(prompt=one.number))
    values = pd.concat(rows, ignore_index=True)
    groups = clusters_of(inputs)
    prompts = pd.DataFrame([_described(model, one) | {"cluster": groups[one.number]} for one in questions])
    return {"effects": effects_table(values, groups), "prompts": prompts[[column.name for column in PROMPTS]],
            "values": no_position(values)[[column.name for column in VALUES]]}  # fmt: skip


def chosen_sources(inputs: Inputs, spec: KnockoutSpec) -> list[str]:
    """The sources asked for; by default each token of one prompt, or every span that all tasks have and the rest."""
    if spec.sources:
        return list(dict.fromkeys(spec.sources))
    if len(inputs.tasks) < 2:
        return [EACH]
    shared = [role for role, _ in inputs.tasks[0].spans if all(role in dict(one.spans) for one in inputs.tasks)]
    return [*shared, OTHER, START, ITSELF]


def _roles(inputs: Inputs, words: Sequence[str], spec: KnockoutSpec) -> list[str]:
    """Those of the words that are roles of spans."""
    known = {role for task in inputs.tasks for role, _ in task.spans}
    return [word for word in dict.fromkeys([*words, spec.queries]) if word in known and word not in (*SOURCES, LAST)]


def _described(model: Model, one: Question) -> dict[str, object]:
    logits = model.logits(one.ids, last_only=True)[:, -1]
    return {
        "prompt": one.number, "label": one.label, "text": one.text, "gold": one.gold,
        "log_prob": float(log_prob_of_any(one.answers)(logits)[0]), "rank": best_rank(logits, one.answers),
        "top": model.str_tokens([int(logits[0].argmax())])[0],
    }  # fmt: skip


def check(_model: Model, inputs: Inputs, spec: KnockoutSpec) -> None:
    """Refuse single tokens of several prompts, controls of single tokens, and tasks that lack a span others have."""
    words = chosen_sources(inputs, spec)
    roles = _roles(inputs, words, spec)
    alone = [word for word in words if word not in roles and (word == EACH or _is_index(word))]
    if len(inputs.tasks) > 1 and alone:
        raise InputError(
            f"option sources {alone[0]}: single tokens are not the same in {len(inputs.tasks)} prompts; name roles "
            f"of spans, {ALL}, {OTHER}, {START} or {ITSELF}, or give one prompt"
        )
    if len(inputs.tasks) > 1 and _is_index(spec.queries) and spec.queries not in roles:
        there = "".join(f", {role}" for role in dict(inputs.tasks[0].spans))
        raise InputError(
            f"option queries {spec.queries}: a token index is another token in each of {len(inputs.tasks)} prompts; "
            f"valid are {LAST}, {ALL}{there}, or give one prompt"
        )
    if spec.controls and not set(words) - {*alone, ALL, ITSELF}:
        raise InputError(
            f"option controls {spec.controls}: none of the sources ({', '.join(words)}) has a control; name roles of "
            f"spans, {OTHER} or {START}, or set controls 0"
        )
    check_spans(inputs.tasks, roles, "other sources")


def _is_index(word: str) -> bool:
    return word.lstrip("-").isdigit()


ANALYSIS = Analysis(
    name="attention_knockout",
    title="Attention knockout",
    family="Causal",
    question="Which tokens does the answer read, and in which layers?",
    meaning="Each number is one run in which some keys are hidden around one layer: what that does to the answer.",
    paper="Geva et al. 2023 (Dissecting Recall of Factual Associations)",
    needs=("tasks", "prompt"),
    spec=KnockoutSpec,
    onward=("causal_tracing", "head_atlas"),
    run=run,
    figures=figures,
    columns={"effects": EFFECTS, "prompts": PROMPTS, "values": VALUES},
    check=check,
    pictures=lambda _spec: ("effect",),
    version=3,
    example={"prompt": "The Eiffel Tower is in the city of", "spec": {}},
)
