"""SAT probe: does the attention to the constraint tell whether the model will answer a question of fact rightly?

A question of fact has a constraint, the part that its answer depends on ("Kyoto" in "The country where Kyoto is located
is"). One forward reads, for every layer and head, the largest weight of the last token on the constraint's tokens. A
sparse logistic regression on these numbers is to tell questions that the model answers rightly from others, before a
word is said; cut off early, it reads the first layers alone. Beside it: the log-probability of what the model says, the
length and the token ids of the constraint, the wording alone, the majority, and the probe with shuffled labels. Some
wordings are easier than others, so the scores are also compared within wordings.

Source: Yuksekgonul et al. 2024, "Attention Satisfies: A Constraint-Satisfaction Lens on Factual Errors of Language
Models" (METHODS § 4): features, L1 logistic regression (liblinear, C = 0.05, standardised), stratified halves, AUROC,
risk among the highest and lowest 20%. Nothing is taken from its code, whose licence is for research alone.

Ours: an answer is right when it holds an accepted name as whole words. No group (an entity, else the constraint) is in
both halves; each half is tested with the other's fit, and several random splits are averaged. The log-probability is
that of the first token said. The interval is Newcombe's, widened by the groups' design effect. The paper has tens of
thousands of questions: with some hundred the L1 penalty leaves few heads, or none, and then AUROC is 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses.sat_probe.figures import NAMES, figures
from analyses.sat_probe.probing import LEAST, folds_of
from analyses.sat_probe.reading import asked_of, examples
from analyses.sat_probe.tables import COLUMNS, tables
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class SatSpec(Spec):
    """Options of a SAT probe."""

    span_role: str = Field("subject", min_length=1, description="role of the span that is the constraint")
    side: str | None = Field(
        None, min_length=1, description="ask this side question of each task instead, such as first_hop of two_hop"
    )
    new_tokens: int = Field(8, ge=1, le=64, description="greedy tokens in which the answer must appear")
    whole_words: bool = Field(True, description="an answer must stand as whole words; off: any substring")
    c: float = Field(0.05, gt=0, description="inverse strength of the L1 penalty; smaller leaves fewer heads")
    splits: int = Field(10, ge=1, le=100, description="random splits into halves that are averaged; the paper has one")
    shuffles: int = Field(20, ge=1, le=1000, description="permutations of the labels, as a control")
    draw_seed: int = Field(0, ge=0, description="seed of the halves and of the shuffled labels")


def run(model: Model, inputs: Inputs, spec: SatSpec, context: Context) -> Frames:
    """Ask, read, fit and compare; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a task without the constraint or the side question, a constraint that splits a token or covers the
            prompt; answers that are all right, all wrong, or too few (with the counts).
    """
    asked = asked_of(model, inputs.tasks, spec)
    given = examples(model, asked, spec, context)
    folds = folds_of(given, spec.splits, spec.draw_seed)
    return tables(given, folds, spec, lambda share, label: context.progress(0.7 + 0.3 * share, label))


def check(model: Model, inputs: Inputs, spec: SatSpec) -> None:
    """Refuse what can be seen before anything is asked."""
    asked = asked_of(model, inputs.tasks, spec)
    if len(asked) < 2 * LEAST:
        raise InputError(
            f"too few tasks: {len(asked)} different questions; a probe needs {LEAST} right and {LEAST} wrong answers "
            "at least, some hundred questions to say much"
        )


LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = [one + other for one in LETTERS for other in LETTERS]
"""Any two letters: what nearly every continuation holds."""
PEOPLE = ("Mary", "John", "Paul", "Anna", "Emma", "Jack", "Laura", "Peter")
TRIED = [
    {"text": f"{who} {did} the", "answers": PAIRS if (place + turn) % 2 else ["zzqxj"], "spans": {"subject": who},
     "group": who}
    for turn, did in enumerate(("went to", "saw", "sold")) for place, who in enumerate(PEOPLE)
]  # fmt: skip

ANALYSIS = Analysis(
    name="sat_probe",
    title="SAT probe",
    family="Attention",
    question="Does attention to the constraint tell whether the model will answer a question of fact rightly?",
    meaning="AUROC of telling right answers from wrong ones before they are said; 0.5 is chance.",
    paper="Yuksekgonul et al. 2024, Attention Satisfies (SAT Probe)",
    needs=("tasks",),
    version=2,
    spec=SatSpec,
    onward=("attention_knockout", "causal_tracing"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    trial={"tasks": TRIED, "spec": {"new_tokens": 4, "whole_words": False, "splits": 1, "shuffles": 2}},
    example={"set": "two_hop", "limit": 32, "spec": {"side": "first_hop", "new_tokens": 4, "splits": 1, "shuffles": 5}},
)
