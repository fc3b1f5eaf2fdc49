"""Lookback detector: do the heads' lookback ratios tell answers that are in the context from those that are not?

The model answers every task greedily; an answer is right when it holds the gold answer. A logistic regression on the
lookback ratios of all heads, averaged over the answer (or over windows of it), is to tell right from wrong: within a
kind of task, over all kinds, and from one kind to another. Beside it stands what is cheaper: the mean of all ratios,
the entropy of the output, the log-probability of the answer, a probe on hidden states, the words of the question and
the kind of the task alone, which know nothing of the answer; and the same regression with shuffled labels.

Source: Chuang et al. 2024, "Lookback Lens: Detecting and Mitigating Contextual Hallucinations in Large Language Models
Using Only Attention Maps": ratios (means, first token inside the context), predefined spans and windows of 8, logistic
regression with 1,000 iterations, halves trained and tested both ways with the AUROC averaged.

Ours: the halves share no group (entity, context), for transfer too; the paper splits at random. Answers are labelled by
their text, so that an answer is right or wrong as a whole. Several random splits are averaged, for with few groups one
split's score is a matter of luck; the interval is no narrower for it. A task with a span `response` is not answered but
read, and its spans `wrong`, `wrong 2` … label its tokens. States of the probe are those of the middle and the last
layer at the same queries, standardised. The interval is Newcombe's, widened by the groups' design effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from analyses._common import steps
from analyses._contract import Analysis, Context, Frames, Inputs
from analyses.lookback.reading import ContextSpec, Item, Reading, items_of, read_item, refuse_long
from analyses.lookback_detector.detector import KIND, Detector, fitted, meta_of, one_class
from analyses.lookback_detector.examples import Examples, Features, examples
from analyses.lookback_detector.figures import NAMES, figures
from analyses.lookback_detector.fitting import ALL, DETECTOR, folds_of, head_table
from analyses.lookback_detector.tables import COLUMNS, answers_table, kinds_table, scores_table
from data.artifacts import check_name
from hooks.decoding import sentence_end
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class DetectorSpec(ContextSpec):
    """Options of a lookback detector."""

    new: int = Field(6, ge=1, le=256, description="tokens that an answer has at most; a full stop or line ends it too")
    features: Features = Field(
        "span", description="span: means over the labelled parts of an answer; window: over every window of it"
    )
    window: int = Field(8, ge=1, le=256, description="tokens of a window")
    splits: int = Field(10, ge=1, le=200, description="random splits into halves that are averaged; the paper has one")
    shuffles: int = Field(20, ge=1, le=1000, description="permutations of the labels, as a control")
    draw_seed: int = Field(42, ge=0, description="seed of the halves and of the shuffled labels")
    keep_as: str | None = Field(
        None, min_length=1, description="keep the detector fitted on everything under this name, for later runs"
    )


def probed_layers(model: Model) -> tuple[int, ...]:
    """The middle and the last layer."""
    last = model.geometry.n_layers - 1
    return tuple(sorted({last // 2, last}))


def run(model: Model, inputs: Inputs, spec: DetectorSpec, context: Context) -> Frames:
    """Answer, label, fit and compare; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a span that is absent, splits a token, or leaves nothing inside or after the context; one group
            alone; no answer with a token; labels that are all one class (with the counts).
    """
    items, layers = _items(model, inputs, spec), probed_layers(model)
    readings = read_all(model, items, spec.new, layers, context)
    given = examples(readings, spec.features, spec.window)
    refuse_one_class(given)
    folds = folds_of(given.rows, spec.draw_seed, spec.splits)
    scores = scores_table(given, folds, layers, spec.shuffles, spec.draw_seed,
                          lambda share, label: context.progress(0.8 + 0.2 * share, label))  # fmt: skip
    refuse_untested(scores)
    detector = fitted_on(given, spec.before)
    answers = answers_table(readings, given, folds[0])
    if spec.keep_as is not None:
        told = {"span_role": spec.span_role, "features": spec.features, "window": spec.window, "new": spec.new,
                "examples": len(given.rows), "auroc": own_auroc(scores)}  # fmt: skip
        told = {name: value for name, value in told.items() if value == value}
        context.keep(spec.keep_as, KIND, detector.tensors(), meta_of(model, detector, told))
    return {
        "scores": scores, "heads": head_table(given, detector.weights), "answers": answers,
        "kinds": kinds_table(answers),
    }  # fmt: skip


def read_all(
    model: Model, items: list[Item], new: int, layers: tuple[int, ...], context: Context, last: float = 0.8
) -> list[Reading]:
    """Every item's answer, written or given, ended by a full stop, a line or `new` tokens."""
    ends = sentence_end(model)
    return [read_item(model, item, new, ends, layers, told.progress)
            for item, told in steps(context, items, "task", last=last)]  # fmt: skip


def refuse_one_class(given: Examples) -> None:
    """Raise InputError with the counts where all examples are right, or all wrong."""
    right = int(given.rows["right"].sum())
    if right in (0, len(given.rows)):
        raise one_class(right, len(given.rows) - right, "answers")


def own_auroc(scores: pd.DataFrame) -> float:
    """The detector's AUROC in two folds over all kinds of task, or over the only one: what is kept with it."""
    own = scores[(scores["method"] == DETECTOR) & (scores["trained"] == scores["tested"])]
    whole = own[own["tested"] == ALL] if (own["tested"] == ALL).any() else own
    return float(whole["auroc"].iloc[0])


def refuse_untested(scores: pd.DataFrame) -> None:
    """Raise InputError where no kind of task could be halved so that both halves have right and wrong answers."""
    own = scores[(scores["method"] == DETECTOR) & (scores["trained"] == scores["tested"])]
    if own["auroc"].isna().all():
        counts = "; ".join(f"{row['tested']}: {row['right']} right, {row['wrong']} wrong" for _, row in own.iterrows())
        raise InputError(
            f"too few tasks: no two halves without a shared group have right and wrong answers both ({counts}); give "
            "more tasks, of more groups"
        )


def fitted_on(given: Examples, before: str) -> Detector:
    """A detector fitted on all examples."""
    weights, bias = fitted(given.ratios.reshape(len(given.rows), -1), given.rows["right"])
    groups = tuple(sorted(set(given.rows["group"])))
    return Detector(weights.reshape(given.ratios.shape[1:]), bias, before, groups)


def _items(model: Model, inputs: Inputs, spec: DetectorSpec) -> list[Item]:
    if spec.keep_as is not None:
        check_name(spec.keep_as)
    items = items_of(model, inputs.tasks, spec)
    if len({item.cluster for item in items}) < 2:
        tasks = "one task" if len(items) == 1 else f"{len(items)} tasks of one group"
        raise InputError(f"{tasks}: two halves without a shared group need at least two groups")
    refuse_long(model, items, spec.new)
    return items


def _check(model: Model, inputs: Inputs, spec: DetectorSpec) -> None:
    _items(model, inputs, spec)


LABELLED = [
    {"text": f"{a} went to the {b}.\nWhere did {a} go? {a} went to the {said}", "answers": [b], "group": a,
     "spans": {"context": f"{a} went to the {b}.\nWhere did {a} go?", "response": f"to the {said}"}
     | ({} if said == b else {"wrong": said})}
    for a, b, said in (("Mary", "park", "park"), ("John", "school", "school"), ("Paul", "house", "river"),
                       ("Anna", "garden", "city"), ("Emma", "station", "station"), ("Jack", "bank", "farm"))
]  # fmt: skip

ANALYSIS = Analysis(
    name="lookback_detector",
    title="Lookback detector",
    family="Attention",
    question="Do lookback ratios tell answers that are grounded in the context from those that are not?",
    meaning="AUROC of telling right answers from wrong ones; 0.5 is chance, and baselines are to be beaten.",
    paper="Chuang et al. 2024, Lookback Lens",
    needs=("tasks",),
    version=2,
    spec=DetectorSpec,
    onward=("guided_decoding", "attention_knockout"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda _spec: NAMES,
    trial={"tasks": LABELLED, "spec": {"shuffles": 2}},
    example={"set": "grounded", "limit": 16, "seed": 2, "spec": {"new": 4, "shuffles": 10}},
)
