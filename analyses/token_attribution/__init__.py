"""Token attribution: which tokens of a prompt make the model say what it says, by six methods, and are they right?

Every token is scored by input × gradient, integrated gradients (Sundararajan et al. 2017), occlusion, attention rollout
(Abnar and Zuidema 2020), attention × value-norm (Kobayashi et al. 2020) and ReAGent (Zhao and Shan 2024; METHODS § 10).
Rankings are tested by taking their head away or keeping it alone (comprehensiveness and sufficiency, DeYoung et al.
2020), beside random rankings, and compared with each other by Spearman's correlation.

What is explained is the log-probability, or the logit, of one next token: the model's own, a task's gold answer (its
first token), a pair's answer (`logit_diff`: minus the distractor's logit). Gradients, their integral and occlusion
share one baseline in place of a token's embedding: the mean of the embedding table, or zero. Learnt positions stay.

Ours: input × gradient is taken from the baseline, (x − b)·∇, which for the zero baseline is the textbook's; so the
three are equal where the model is linear. How far integrated gradients are from complete is told, for on a deep model
the straight way from the baseline crosses jumps that few steps miss. Rollout and attention × value-norm are of the
last token; the second sums the norm of the head-summed, weighted, projected values over layers. Tokens are ranked by
signed score. ReAGent's stand-ins come from the model, not from a tagger, and its runs are short. Faithfulness deletes
tokens by default, which no method scores by; with `removal: baseline` occlusion is tested by what it was made with.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
from pydantic import Field

from analyses._common import absent, clusters_of, steps, tokens_frame
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.token_attribution.computing import curve_frame, facts, questions, score_frame
from analyses.token_attribution.explained import Baseline, Explained, Quantity
from analyses.token_attribution.faithfulness import Removal
from analyses.token_attribution.figures import figures, names
from analyses.token_attribution.tables import (
    AGREEMENT,
    COMPLETENESS,
    CURVES,
    FAITHFULNESS,
    PROMPTS,
    SCORES,
    SPANS,
    agreement_table,
    completeness_table,
    faithfulness_table,
    spans_table,
    tokens_table,
)
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

Method = Literal["input_gradient", "integrated_gradients", "occlusion", "rollout", "attention_value", "reagent"]
Share = Annotated[float, Field(gt=0, lt=1)]


class TokenSpec(Spec):
    """Options of token attribution."""

    methods: tuple[Method, ...] = Field((), description="how tokens are scored; none given means all")
    explains: Quantity = Field("log_prob", description="which number of the target; logit_diff needs pairs")
    baseline: Baseline = Field("mean", description="what stands in for a token: mean of the embedding table, or zero")
    steps: int = Field(32, ge=1, le=4096, description="integrated gradients: points on the way from the baseline")
    removal: Removal = Field("deleted", description="faithfulness: how tokens are taken away")
    shares: tuple[Share, ...] = Field(
        (0.1, 0.2, 0.3, 0.5), min_length=1, description="faithfulness: shares of the ranking taken away, or kept"
    )
    random_draws: int = Field(8, ge=2, le=200, description="random rankings a prompt, the control")
    reagent_runs: int = Field(3, ge=1, le=20, description="ReAGent: runs that are averaged")
    reagent_steps: int = Field(24, ge=1, le=3000, description="ReAGent: most replacements of a run")
    rationale: float = Field(
        0.3, gt=0, lt=1, description="ReAGent: share of the tokens that must suffice to stop a run"
    )
    span_role: str | None = Field(
        None, min_length=1, description="tasks: role of a span; tells how often the first-ranked token lies in it"
    )
    draw_seed: int = Field(0, ge=0, description="seed of the random rankings and of ReAGent's replacements")
    shown_prompt: int = shown(0, ge=0, description="prompt that is drawn token by token")


def run(model: Model, inputs: Inputs, spec: TokenSpec, context: Context) -> Frames:
    """Score every prompt's tokens and test the rankings; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `computing.questions` refuses.
    """
    asked = questions(model, inputs, spec)
    rows, raw, curves, tokens = [], [], [], []
    for question, inner in steps(context, asked, "prompt"):
        explained = Explained(model, question, spec.explains, spec.baseline)
        scores = context.part(f"scores {question.number}", partial(score_frame, explained, spec, inner.progress))
        found = context.part(f"faithfulness {question.number}", partial(curve_frame, explained, scores, spec))
        runs = scores[["runs", "converged"]].max()
        rows.append(facts(explained) | {"reagent_runs": runs["runs"], "reagent_converged": runs["converged"]})
        raw.append(scores.assign(prompt=question.number))
        curves.append(found.assign(prompt=question.number))
        tokens.append(tokens_frame(model, question.ids[0].tolist()).assign(prompt=question.number))
    prompts = pd.DataFrame(rows)
    for name in ("reagent_runs", "reagent_converged"):
        prompts = absent(prompts, name, prompts[name] < 0)
    every, tested = pd.concat(raw, ignore_index=True), pd.concat(curves, ignore_index=True)
    table = tokens_table(every, pd.concat(tokens, ignore_index=True))
    groups = clusters_of(inputs)
    return {
        "prompts": prompts[[column.name for column in PROMPTS]],
        "tokens": table,
        "completeness": completeness_table(every, prompts),
        "faithfulness": faithfulness_table(tested, groups),
        "agreement": agreement_table(every, groups),
        "curves": tested[[column.name for column in CURVES]],
        "spans": spans_table(table, {one.number: one.inside for one in asked if one.inside}, groups),
    }


def check(model: Model, inputs: Inputs, spec: TokenSpec) -> None:
    """Refuse what cannot be explained, a method named twice, and a prompt to draw that is not there."""
    if twice := [one for one in spec.methods if spec.methods.count(one) > 1]:
        raise InputError(f"option methods names {twice[0]} twice; name each once")
    if spec.shown_prompt >= len(inputs.read):
        raise InputError(f"option shown_prompt = {spec.shown_prompt}: the prompts are 0 to {len(inputs.read) - 1}")
    questions(model, inputs, spec)


ANALYSIS = Analysis(
    name="token_attribution",
    title="Token attribution",
    family="Attention",
    question="Which tokens of a prompt make the model say what it says, and do the methods that tell agree?",
    meaning="Scores of a prompt's tokens for one next token, and what the model loses without those that rank first.",
    paper="Sundararajan et al. 2017; Abnar and Zuidema 2020; DeYoung et al. 2020; Zhao and Shan 2024 (ReAGent)",
    needs=("prompt", "pair", "pairs", "tasks"),
    version=2,
    spec=TokenSpec,
    onward=("attention_knockout", "causal_tracing", "activation_patching"),
    run=run,
    figures=figures,
    columns={"prompts": PROMPTS, "tokens": SCORES, "completeness": COMPLETENESS, "faithfulness": FAITHFULNESS,
             "agreement": AGREEMENT, "curves": CURVES, "spans": SPANS},
    check=check,
    pictures=names,
    trial={"spec": {"steps": 3, "reagent_runs": 1, "reagent_steps": 8, "random_draws": 2, "shares": [0.2, 0.5]}},
    example={"prompt": "The capital of France is",
             "spec": {"steps": 12, "reagent_runs": 1, "reagent_steps": 16, "random_draws": 6, "shares": [0.2, 0.4]}},
)  # fmt: skip
