"""Context traceback: which passages of a context does an answer come from, by the attention of its tokens?

Some of the passages are drawn, again and again, and the model reads them with the question and its answer. The weight
of the answer's tokens on each token of a passage is averaged over layers, heads and answer tokens; a passage's score is
the mean of its largest weights, averaged over the draws that show it. The truth it is compared with: how much less
likely the answer is when the passage is left out. Beside it: the same attention in one pass over all passages, the mean
weight instead of the largest, the order of the passages alone, and where an answer is right, which passage holds it.

Source: AttnTrace, attention-based context traceback (METHODS § 10): 30 draws of 40% of the passages, the largest 5
weights, their order kept. With one draw of everything it is plain attention in one pass.

Ours: passages are taken out as tokens, so that what remains keeps its tokens. A draw shows those passages that were
shown least so far (equals at random), so that every passage is shown. The first token that is read counts for nothing
(`first_token` turns this off): attention rests on it whatever it says, and a passage in front would always win. What is
traced is what the model itself says up to a full stop or a line. Leaving one passage out shows no passage that another
one repeats.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd
from pydantic import Field

from analyses._common import steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.context_traceback.computing import task_frame
from analyses.context_traceback.figures import NAMES, figures
from analyses.context_traceback.passages import Passages, check_draws, passages_of
from analyses.context_traceback.tables import COLUMNS, frames_of
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

CHUNK = 4
"""Tasks of one part of a run."""


class TracebackSpec(Spec):
    """Options of a context traceback."""

    span_role: str = Field(
        "passage", min_length=1, description="role of the passages (passage, passage 2 …), or of one span of sentences"
    )
    draws: int = Field(30, ge=1, le=1000, description="draws of passages")
    share: float = Field(0.4, gt=0, le=1, description="share of the passages that a draw shows")
    top: int = Field(5, ge=1, description="largest weights of a passage that are averaged")
    traced: Literal["said", "gold"] = Field("said", description="whose source is looked for: the model's answer, gold")
    new: int = Field(8, ge=1, le=128, description="tokens that the model's answer has at most")
    first_token: bool = Field(False, description="count the first token that is read, where attention rests")
    draw_seed: int = Field(0, ge=0, description="seed of the draws")
    shown_task: int = shown(0, ge=0, description="task whose passages are drawn; else the first with an answer")


def run(model: Model, inputs: Inputs, spec: TracebackSpec, context: Context) -> Frames:
    """Trace every task; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a task with fewer than two passages, draws that cannot show them all, or no answer at all.
    """
    read = _read(model, inputs, spec)
    parts = []
    starts = range(0, len(read), CHUNK)
    for start, inner in steps(context, starts, "part"):
        parts.append(context.part(f"tasks {start}", partial(_part, model, read[start : start + CHUNK], spec, inner)))
    raw = pd.concat(parts, ignore_index=True)
    if (raw["passage"] < 0).all():
        raise InputError(
            f"no generated tokens: in all {len(read)} tasks the model ends its answer at once; give prompts that begin "
            "the answer, or trace the gold answer (traced gold)"
        )
    return frames_of(raw, read)


def _part(model: Model, read: list[Passages], spec: TracebackSpec, context: Context) -> pd.DataFrame:
    frames = [task_frame(model, one, spec, inner.progress) for one, inner in steps(context, read, "task")]
    # A part of nothing but silent tasks has the columns of the others all the same.
    wanted = {"answer": None, "log_prob": float("nan"), "right": None}
    frames = [frame.assign(**{name: value for name, value in wanted.items() if name not in frame}) for frame in frames]
    return pd.concat(frames, ignore_index=True)


def _read(model: Model, inputs: Inputs, spec: TracebackSpec) -> list[Passages]:
    read = [passages_of(model, number, task, spec.span_role) for number, task in enumerate(inputs.tasks)]
    for one in read:
        check_draws(len(one.texts), spec.draws, spec.share)
    return read


def _check(model: Model, inputs: Inputs, spec: TracebackSpec) -> None:
    _read(model, inputs, spec)


TRIED = [
    {"text": f"Mary owns a {a}. John owns a {b}. Paul owns a {c}.\nJohn owns a", "answers": [b],
     "spans": {"passage": f"Mary owns a {a}. John owns a {b}. Paul owns a {c}."}, "group": a}
    for a, b, c in (("book", "house", "river"), ("garden", "farm", "station"))
]  # fmt: skip

ANALYSIS = Analysis(
    name="context_traceback",
    title="Context traceback",
    family="Attention",
    question="Which passages of a context does an answer come from, by the attention of its tokens?",
    meaning="Passages ranked by attention, beside what leaving each out does to the answer's probability.",
    paper="Wang et al. 2025, AttnTrace",
    needs=("tasks",),
    version=2,
    spec=TracebackSpec,
    onward=("attention_knockout", "token_attribution", "causal_tracing"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda _spec: NAMES,
    trial={"tasks": TRIED, "spec": {"draws": 4, "new": 2, "traced": "gold"}},
    example={"set": "grounded", "limit": 2, "spec": {"draws": 6, "new": 4}},
)
