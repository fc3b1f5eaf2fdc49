"""Guided decoding: does a lookback detector, choosing among drawn chunks, make answers right more often?

After a prompt several chunks are drawn, each is scored by the detector's probability that its mean lookback ratios
belong to a right answer, the best is appended, and so on. The same candidates are also picked by their log-probability
and at random, which is the equal budget; beside these stand greedy decoding, which costs one candidate, and the share
of tasks where any candidate is right, which no picking can exceed.

Source: Chuang et al. 2024, "Lookback Lens: Detecting and Mitigating Contextual Hallucinations in Large Language Models
Using Only Attention Maps", section 4: 8 candidates of 8 tokens, top-p 0.95, temperature 0.9, argmax appended, ended by
an end of text or a short chunk.

Ours: short answers, which a full stop or a line ends; ways of picking that agree so far share their next candidates, so
that differences are paired; log-probability is the mean over a chunk's tokens, at temperature 1. Without a kept
detector one is fitted on one half of the tasks' groups, and the other half is held out; with one, tasks of the groups
that it was fitted on are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from analyses._common import steps
from analyses._contract import Analysis, Context, Frames, Inputs, an_artifact
from analyses._stats import grouped_folds
from analyses.guided_decoding.computing import answers_of
from analyses.guided_decoding.figures import NAMES, figures
from analyses.guided_decoding.tables import COLUMNS, differences_table, ordering_table, ways_table
from analyses.lookback.reading import ContextSpec, Item, items_of, refuse_long
from analyses.lookback_detector import LABELLED, fitted_on, read_all, refuse_one_class
from analyses.lookback_detector.detector import Detector, detector_of
from analyses.lookback_detector.examples import examples
from hooks.decoding import sentence_end
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class GuidedSpec(ContextSpec):
    """Options of guided decoding."""

    detector: str | None = an_artifact(
        "lookback_detector", "a kept detector; none given fits one on half of the tasks' groups"
    )
    candidates: int = Field(8, ge=2, le=64, description="chunks drawn at each place")
    chunk: int = Field(8, ge=1, le=64, description="tokens of a chunk")
    chunks: int = Field(2, ge=1, le=64, description="chunks that an answer has at most")
    top_p: float = Field(0.95, gt=0, le=1, description="drawn from the likeliest tokens that hold this probability")
    temperature: float = Field(0.9, gt=0, le=5, description="of the draws")
    draw_seed: int = Field(42, ge=0, description="seed of the halves and of the draws")


def run(model: Model, inputs: Inputs, spec: GuidedSpec, context: Context) -> Frames:
    """Fit or take a detector, answer the held-out tasks in every way; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a span that is absent, splits a token, or leaves nothing inside or after the context; a detector of
            another model or that was fitted on all groups; labels to fit on that are all one class.
    """
    items = _items(model, inputs, spec)
    detector, held, told = _detector(model, items, spec, context)
    rows, drawn, ends = [], [], sentence_end(model)
    for item, inner in steps(context, held, "held-out task", first=0.4):
        answers, candidates = answers_of(model, item, detector, spec, ends, inner.progress)
        rows += answers
        drawn += candidates
    answers_frame, candidates_frame = pd.DataFrame(rows), pd.DataFrame(drawn)
    return {
        "ways": ways_table(answers_frame),
        "differences": differences_table(answers_frame),
        "ordering": ordering_table(candidates_frame, answers_frame),
        "answers": answers_frame[[column.name for column in COLUMNS["answers"]]],
        "candidates": candidates_frame[[column.name for column in COLUMNS["candidates"]]],
        "fitted": pd.DataFrame([told]),
    }


def _detector(
    model: Model, items: list[Item], spec: GuidedSpec, context: Context
) -> tuple[Detector, list[Item], dict[str, object]]:
    """The detector, the tasks held out from it, and the row of `fitted`."""
    if spec.detector is not None:
        kept = detector_of(model, context.use("detector"), spec.before)
        held = [item for item in items if item.cluster not in kept.groups]
        if not held:
            raise InputError(
                f"detector {spec.detector!r} was fitted on the groups of all {len(items)} tasks: none is held out; "
                "give tasks of other groups, or no detector"
            )
        left = len(items) - len(held)
        return kept, held, {"detector": kept.note, "tasks": 0, "right": 0, "wrong": 0, "left_out": left}
    halves = grouped_folds([item.cluster for item in items], 2, seed=spec.draw_seed)
    first = [item for item, half in zip(items, halves, strict=True) if half == 0]
    held = [item for item, half in zip(items, halves, strict=True) if half == 1]
    given = examples(read_all(model, first, spec.chunk * spec.chunks, (), context, last=0.4), "span", spec.chunk)
    refuse_one_class(given)
    right = int(np.sum(given.rows["right"]))
    told = {"detector": "fitted here", "tasks": len(first), "right": right, "wrong": len(given.rows) - right}
    return fitted_on(given, spec.before), held, told | {"left_out": 0}


def _items(model: Model, inputs: Inputs, spec: GuidedSpec) -> list[Item]:
    items = items_of(model, inputs.tasks, spec)
    if spec.detector is None and len({item.cluster for item in items}) < 2:
        tasks = "one task" if len(items) == 1 else f"{len(items)} tasks of one group"
        raise InputError(
            f"{tasks}: a detector is fitted on one half of the groups and used on the other; give tasks of two groups "
            "or more, or a kept detector (--detector)"
        )
    refuse_long(model, items, spec.chunk * spec.chunks)
    return items


def _check(model: Model, inputs: Inputs, spec: GuidedSpec) -> None:
    _items(model, inputs, spec)


ANALYSIS = Analysis(
    name="guided_decoding",
    title="Guided decoding",
    family="Attention",
    question="Are answers right more often when a lookback detector picks among drawn chunks?",
    meaning="Share of right answers; the detector has to beat picking the same candidates by log-probability.",
    paper="Chuang et al. 2024, Lookback Lens",
    needs=("tasks",),
    version=2,
    spec=GuidedSpec,
    onward=("lookback_detector",),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda _spec: NAMES,
    trial={"tasks": LABELLED, "spec": {"candidates": 3, "chunk": 3, "chunks": 2, "draw_seed": 1}},
    example={"set": "grounded", "limit": 12, "seed": 2, "spec": {"candidates": 4, "chunk": 4, "chunks": 1}},
)
