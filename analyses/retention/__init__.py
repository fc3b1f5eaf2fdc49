"""Retention: how much of the key/value cache can be dropped, and by which rule, before the model says something else?

A text's first part is a prompt, read in full. From then on the cache holds a share of the text's keys at most, and
every following token is predicted from what is left. Policies: a window with sinks (the Λ-shaped mask of StreamingLLM,
Xiao et al. 2023), keys by accumulated attention (H2O, Zhang et al. 2023), the same with a forgetting factor (A2SF;
METHODS § 10), pyramid budgets over layers with the last queries' pooled attention (PyramidKV; METHODS § 10), pruned key
channels (ThinK, Xu et al. 2024), and random eviction at equal budget as the control.

Ours: everything is computed by masking inside one ordinary forward, so it is exact and saves no memory: a layer's
continuation is walked query by query, each sees what the cache would hold then, and later layers get what follows from
it. Query heads that share a key head share its cache. The budget counts the query's own key and holds while the
text goes on, so a full budget loses nothing. Score policies, the pyramid and the control alike keep the last keys, a
share of the capacity; they differ in the rest. PyramidKV keeps all new keys and selects once; here its window moves on
with the text, and its budgets are rounded layer by layer, so that they add up. Channels are chosen on the prompt's last
queries, and new keys lose them as well. Positions stay as they are: the keys after an evicted one do not move up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from pydantic import Field

from analyses._common import beginning, steps
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.retention.computing import Text, capacities, policies_of, text_frame
from analyses.retention.figures import figures, names, shown_budget
from analyses.retention.policies import Policy
from analyses.retention.tables import LAYERS, POSITIONS, SUMMARY, TEXTS, VALUES, positions_table, summary_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

LONGEST = 1024
"""Tokens of a text, at most: the map of one layer and the logits of the continuation are written out."""

Budget = Annotated[float, Field(gt=0, le=1)]


class RetentionSpec(Spec):
    """Options of the retention simulator."""

    policies: tuple[Policy, ...] = Field(
        (), description="how kept keys are chosen, random eviction always beside; none given means all"
    )
    budgets: tuple[Budget, ...] = Field(
        (0.2, 0.4, 0.6, 0.8, 1.0), min_length=1, description="shares of a text's keys that are kept, above 0 up to 1"
    )
    prompt_share: float = Field(0.5, gt=0, lt=1, description="share of a text that is read in full first")
    sinks: int = Field(4, ge=0, description="lambda: first tokens that are always kept")
    recent_share: float = Field(
        0.5, gt=0, le=1, description="share of the kept keys that are the last ones; channels: of the prompt's queries"
    )
    alpha: float = Field(0.9, gt=0, lt=1, description="forgetting: what is left of a score after another token")
    random_draws: int = Field(2, ge=1, le=50, description="random evictions a text that are averaged")
    draw_seed: int = Field(0, ge=0, description="seed of the random evictions")
    bins: int = Field(12, ge=1, le=512, description="bins of positions after the prompt, at most")
    shown_budget: float | None = shown(
        None, gt=0, le=1, description="budget of the pictures by position and layer; none means the smallest"
    )


def run(model: Model, inputs: Inputs, spec: RetentionSpec, context: Context) -> Frames:
    """Read every text plain and under every policy and budget; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a text of fewer than three tokens, or longer than LONGEST.
    """
    texts = read_texts(model, inputs, spec)
    parts = []
    for text, inner in steps(context, texts, "text"):
        compute = partial(text_frame, model, text, spec, inner.progress)
        parts.append(context.part(f"text {text.number}", compute).assign(text=text.number))
    values = pd.concat(parts, ignore_index=True)[[column.name for column in VALUES]]
    losses = values.groupby("text")["loss"].mean()
    longest = max(text.length for text in texts)
    kept = [
        (policy, budget, layer, keys)
        for policy in policies_of(spec)
        for budget in sorted(set(spec.budgets))
        for layer, keys in enumerate(capacities(model, policy, budget, longest, spec))
    ]
    told = [(one.number, one.begins, one.length, one.prompt, float(losses[one.number])) for one in texts]
    return {
        "summary": summary_table(values),
        "positions": positions_table(values, {text.number: text.prompt for text in texts}, spec.bins),
        "layers": pd.DataFrame(kept, columns=[column.name for column in LAYERS]),
        "texts": pd.DataFrame(told, columns=[column.name for column in TEXTS]),
        "values": values,
    }


def read_texts(model: Model, inputs: Inputs, spec: RetentionSpec) -> list[Text]:
    """The texts, or the one prompt, each with its prompt's length: at least one token, at most all but two."""
    found = []
    for number, text in enumerate(inputs.texts or inputs.read):
        ids = model.tokens(text)
        total = ids.shape[1]
        begins = beginning(text)
        if not 3 <= total <= LONGEST:
            raise InputError(
                f"text {number}, {begins!r}, has {total} token{'s' if total > 1 else ''}: retention needs 3 to "
                f"{LONGEST}, a prompt, a token that is read after it, and one that is predicted"
            )
        found.append(Text(number, ids, min(total - 2, max(1, int(spec.prompt_share * total))), begins))
    return found


def check(model: Model, inputs: Inputs, spec: RetentionSpec) -> None:
    """Refuse texts that are too short or too long, and a budget to draw that is not computed."""
    shown_budget(spec)
    read_texts(model, inputs, spec)


ANALYSIS = Analysis(
    name="retention",
    title="Retention simulator",
    family="Attention",
    question="How much of the key/value cache can be dropped, and by which rule, before the model says something else?",
    meaning="Divergence of the next token's distribution from the run with everything kept, by policy and budget.",
    paper="Xiao et al. 2023 (StreamingLLM); Zhang et al. 2023 (H2O); A2SF; PyramidKV; Xu et al. 2024 (ThinK)",
    needs=("texts", "prompt"),
    spec=RetentionSpec,
    onward=("mask_edits", "attention_knockout"),
    run=run,
    figures=figures,
    columns={"summary": SUMMARY, "positions": POSITIONS, "layers": LAYERS, "texts": TEXTS, "values": VALUES},
    check=check,
    pictures=names,
    trial={"spec": {"budgets": [0.4, 1.0], "random_draws": 1}, "texts": [
        "When John and Mary went to the store, John gave a drink to", "the red book on the table"]},
    example={
        "prompt": "The lighthouse keeper rose before dawn and climbed the stairs to the lamp. Far out a boat moved.",
        "spec": {"budgets": [0.3, 0.6], "random_draws": 1},
    },
)  # fmt: skip
