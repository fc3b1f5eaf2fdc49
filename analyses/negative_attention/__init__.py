"""Negative attention: which heads look at "no" rather than "yes", and is that why a model says no too often?

An instruction names two candidates, a question follows. From the final region of the prompt every head gives some
weight to either candidate; its score is the sum over the region's tokens of (A_yes + A_no) · log(A_no / A_yes): large
where the head looks at the candidates, and at the negative one of them. Beside the map: how often the model prefers no
against how often no is true; and what happens when the heads of largest score no longer see the negative candidate from
there, against the positive one masked in the same heads and the negative one masked in random heads.

Source: the idea is that of Yu et al. 2024, "Correcting Negative Bias in Large Language Models through Negative
Attention Score Alignment". The definition is our own: their formula was not at hand and this one is written after the
description of it (METHODS § 10).

Ours: A is the sum over a candidate's tokens; weights below 1e-9 count as that. The final region is the prompt's last
`final` tokens. An answer is the candidate whose first token is likelier, whatever other token is likelier still. Heads
are chosen in one half of the groups and masked in the other, so that none is chosen and tried on the same questions;
nothing is tuned. A candidate named first is seen differently from one named last: take sets with both orders.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from analyses._common import steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses.negative_attention.computing import Question, choose, masked_frame, questions_of, read_frame
from analyses.negative_attention.figures import NAMES, figures
from analyses.negative_attention.tables import COLUMNS, bias_table, effects_table, heads_table, tasks_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

CHUNK = 12
"""Questions of one part of a run."""


class NegativeSpec(Spec):
    """Options of negative attention."""

    yes_role: str = Field("yes", min_length=1, description="role of the span that is the positive candidate")
    no_role: str = Field("no", min_length=1, description="role of the span that is the negative candidate")
    final: int = Field(3, ge=1, le=256, description="tokens at the prompt's end whose attention is read")
    top_heads: int = Field(10, ge=1, description="heads of largest score that are masked")
    random_sets: int = Field(3, ge=1, le=50, description="sets of as many other heads, as a control")
    draw_seed: int = Field(0, ge=0, description="seed of the halves and of the random heads")


def run(model: Model, inputs: Inputs, spec: NegativeSpec, context: Context) -> Frames:
    """Read, choose and mask; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a task without the two candidates or whose answer is neither, one group alone, or too many heads.
    """
    check(model, inputs, spec)
    questions = questions_of(model, inputs.tasks, spec)
    starts = range(0, len(questions), CHUNK)
    parts = []
    for start, inner in steps(context, starts, "reading part", last=0.3):
        parts.append(inner.part(f"attention {start}", partial(read_frame, model, _some(questions, start))))
    raw = pd.concat(parts, ignore_index=True)
    shape = model.geometry.n_layers, model.geometry.n_heads
    scores = raw["score"].to_numpy(dtype=float).reshape(len(questions), *shape)
    choice = choose(scores, questions, spec.top_heads, spec.random_sets, spec.draw_seed)
    masked = []
    for start, inner in steps(context, starts, "masking part", first=0.3):
        masked.append(inner.part(f"masked {start}", partial(masked_frame, model, _some(questions, start), choice)))
    tasks = tasks_table(raw, questions, choice)
    return {
        "heads": heads_table(raw, questions, choice), "bias": bias_table(tasks),
        "effects": effects_table(tasks, pd.concat(masked, ignore_index=True)), "tasks": tasks,
    }  # fmt: skip


def _some(questions: list[Question], start: int) -> list[Question]:
    return questions[start : start + CHUNK]


def check(model: Model, inputs: Inputs, spec: NegativeSpec) -> None:
    """Refuse what can be seen before anything is read."""
    questions = questions_of(model, inputs.tasks, spec)
    if len({one.group for one in questions}) < 2:
        raise InputError(
            f"{len(questions)} tasks of one group: heads are chosen in one half of the groups and tried in the other"
        )
    heads = model.geometry.n_layers * model.geometry.n_heads
    if 2 * spec.top_heads > heads:
        raise InputError(f"option top_heads = {spec.top_heads}: valid are 1 to {heads // 2}, half of all heads")


ANALYSIS = Analysis(
    name="negative_attention",
    title="Negative attention",
    family="Attention",
    question="Which heads look at no rather than yes, and does that make the model say no?",
    meaning="Blue heads look more at the negative candidate from the end of the prompt; grey ones are not told apart.",
    paper="Yu et al. 2024 (NASA) for the idea; the score is our own definition",
    needs=("tasks",),
    version=2,
    spec=NegativeSpec,
    onward=("attention_knockout", "component_ablation"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    trial={"set": "yes_no", "limit": 12, "spec": {"top_heads": 2, "random_sets": 1}},
    example={"set": "yes_no", "limit": 12, "spec": {"random_sets": 1}},
)
