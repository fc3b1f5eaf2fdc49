"""Attention editor: set where heads look from the last token, and watch the answer.

The last token's attention of a head is set by hand: equal weight on chosen tokens of the prompt, none elsewhere. What
is read is how often the answer beats the other candidates that the prompt names. Each head is edited alone, and a few
of them together: those that you name, or those whose edit helps most in one half of the prompts, tried in the other.
Beside them stand as many other heads of the same layers, edited alike.

Source: Merullo et al. 2024, "Circuit Component Reuse Across Tasks in Transformer Language Models" (four middle heads
whose attention is put half and half on the two wrong colours; METHODS § 5).

Ours: heads are chosen by what editing them does, on other prompts than they are tried on; theirs came from the circuit
of another task, which `heads` allows. Candidates are the answers and distractors of the whole set, found in the prompt
without regard to capitals and leading spaces, at their last place. Only keys before the last token can be chosen; then
setting the pattern equals putting the mean of their values for the head's output, which is what is done here and
what tests compare. One run's values suffice: an edit at the last token changes none of the earlier ones.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses.attention_editor.computing import Question, alone_frame, choose, heads_of, questions_of, together_frame
from analyses.attention_editor.figures import NAMES, figures
from analyses.attention_editor.tables import COLUMNS, arms_table, changes_table, heads_table, prompts_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class EditorSpec(Spec):
    """Options of the attention editor."""

    heads: tuple[str, ...] = Field(
        (), description="heads edited together, as L9H6; none given means those that help most in the other half"
    )
    top_heads: int = Field(4, ge=1, le=64, description="how many heads are chosen when none are named")
    layers: tuple[int, ...] = layers_field("layers whose heads are edited, one at a time")
    look_at: str = Field(
        "others",
        min_length=1,
        description="tokens that get the attention: others (the prompt's other candidates), answer, or a token's text",
    )
    after: str = Field("", description="look behind the last place of this text only, such as Q:; none means anywhere")
    random_sets: int = Field(5, ge=1, le=50, description="sets of as many other heads of the same layers, as a control")
    draw_seed: int = Field(0, ge=0, description="seed of the halves and of the control's heads")


def run(model: Model, inputs: Inputs, spec: EditorSpec, context: Context) -> Frames:
    """Edit every head alone and a few together; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a head or layer that is not there, or prompts that name no candidate to look at.
    """
    layers, given = _checked(model, spec)
    questions = questions_of(model, inputs, spec.look_at, spec.after)
    alone = []
    for one, inner in steps(context, questions, "every head, prompt", last=0.7):
        alone.append(inner.part(f"alone {one.number}", partial(alone_frame, model, one, layers, inner.progress)))
    frame = pd.concat(alone, ignore_index=True)
    choice = choose(model, frame, questions, given, spec.top_heads, spec.random_sets, spec.draw_seed)
    together = []
    for one, inner in steps(context, questions, "together, prompt", first=0.7):
        together.append(inner.part(f"together {one.number}", partial(together_frame, model, one, choice)))
    values = pd.concat(together, ignore_index=True)
    return {"arms": arms_table(values), "changes": changes_table(values), "heads": heads_table(frame, choice),
            "prompts": prompts_table(model, questions, choice, values)}  # fmt: skip


def _checked(model: Model, spec: EditorSpec) -> tuple[list[int], list[tuple[int, int]]]:
    """The layers, and the heads that are named."""
    layers, given = checked_layers(model, spec.layers), heads_of(model, spec.heads)
    for option, count in (("heads", len(given)), ("top_heads", 0 if given else spec.top_heads)):
        if 2 * count > len(layers) * model.geometry.n_heads:
            raise InputError(
                f"option {option}: {count} heads of {len(layers) * model.geometry.n_heads} leave no control of as "
                "many others; name fewer, or more layers"
            )
    if outside := [f"L{layer}H{head}" for layer, head in given if layer not in layers]:
        raise InputError(
            f"option heads {outside[0]}: its layer is not among those edited, {', '.join(map(str, layers))}"
        )
    return layers, given


def check(model: Model, inputs: Inputs, spec: EditorSpec) -> None:
    """Refuse what can be seen before anything is computed."""
    _checked(model, spec)
    found: list[Question] = questions_of(model, inputs, spec.look_at, spec.after)
    if not spec.heads and len(found) < 2:
        raise InputError("heads are chosen in one half of the prompts, tried in the other: give two, or name --heads")


_PAIR = {
    "clean": "When John and Mary went to the store, John gave a drink to",
    "corrupted": "When John and Mary went to the store, Mary gave a drink to",
    "answer": " Mary",
    "distractor": " John",
}

ANALYSIS = Analysis(
    name="attention_editor",
    title="Attention editor",
    family="Circuits",
    question="Does the answer get better when heads are made to look at chosen tokens?",
    meaning="Each arm is a set of heads whose last token looks where it was told to; the map edits every head alone.",
    paper="Merullo et al. 2024 (Circuit Component Reuse Across Tasks in Transformer Language Models)",
    needs=("pairs", "pair"),
    spec=EditorSpec,
    onward=("path_patching", "head_agreement"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    trial=(
        {"set": "ioi", "limit": 6, "spec": {"top_heads": 2, "random_sets": 2}},
        {**_PAIR, "spec": {"heads": ["L0H0"], "random_sets": 2}},
    ),
    example={"set": "colored_objects", "limit": 8, "spec": {"after": "Q:", "layers": [23, 24], "random_sets": 2}},
)
