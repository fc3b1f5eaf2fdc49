"""Tables of the attention editor: arms, their differences, every head alone, and the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._common import FOUND, HEAD, LAYER, interval, over_prompts, rate_over_prompts
from analyses._contract import Column
from analyses._stats import matched_difference, paired_difference
from analyses.attention_editor.computing import PLAIN, RANDOM, TOGETHER, Choice, Question

if TYPE_CHECKING:
    from hooks.model import Model

ARM = Column("arm", "", f"{PLAIN}, {TOGETHER}, or {RANDOM} (mean over the sets)")
RIGHT, FIRST, MARGIN = "answer beats the other candidates", "answer is the likeliest token", "margin"
MEASURE = Column("measure", "", f"{RIGHT}; {FIRST} (shares); {MARGIN}: its logit less the best other candidate's")
COLUMNS: dict[str, tuple[Column, ...]] = {
    "arms": (ARM, MEASURE, *interval("share or logits"), FOUND[1]),
    "changes": (
        Column("arm", "", f"{TOGETHER} or {RANDOM}"),
        Column("against", "", "what it is compared with in the same prompts"),
        MEASURE,
        *interval("share or logits", "difference, mean over prompts"),
        FOUND[1],
    ),
    "heads": (
        LAYER,
        HEAD,
        *interval("logits", "change of the margin with this head alone edited"),
        *FOUND,
        Column("chosen", "count", "halves of the prompts in which it is among the heads edited together"),
    ),
    "prompts": (
        Column("prompt", "", "prompt number"),
        Column("text", "", "what is read"),
        Column("answer", "", "right token"),
        Column("rivals", "", "other candidates, as answers"),
        Column("looked_at", "", "tokens that get the attention"),
        Column("half", "", "which half of the prompts"),
        Column("edited", "", "heads edited together in it"),
        Column("margin", "logits", "as it is"),
        Column("edited_margin", "logits", "with these heads edited"),
        Column("other_margin", "logits", "with as many others edited, mean over the sets"),
    ),
}


def arms_table(values: pd.DataFrame) -> pd.DataFrame:
    """Each arm's shares and margin; a control's sets are averaged inside a prompt first."""
    flat = _by_prompt(values)
    parts = []
    for measure, column in _MEASURES:
        for arm, rows in flat.groupby("arm", sort=False):
            rate = measure != MARGIN and arm != RANDOM
            made = (rate_over_prompts if rate else over_prompts)(rows, ["arm"], column).assign(measure=measure)
            if measure != MARGIN:
                made[["low", "high"]] = made[["low", "high"]].clip(0.0, 1.0)
            parts.append(made)
    return pd.concat(parts, ignore_index=True)[[column.name for column in COLUMNS["arms"]]]


def changes_table(values: pd.DataFrame) -> pd.DataFrame:
    """Differences between arms in the same prompts; a hit against a control counts by the share of its sets."""
    rows = []
    for arm, against in ((TOGETHER, PLAIN), (RANDOM, PLAIN), (TOGETHER, RANDOM)):
        first, second = (_sets(values, name) for name in (arm, against))
        for measure, column in _MEASURES:
            one, other = np.broadcast_arrays(*(np.stack(side[column].tolist()) for side in (first, second)))
            if measure == MARGIN:
                found = paired_difference(one.mean(axis=1), other.mean(axis=1))
            else:
                found = matched_difference((one > other).mean(axis=1), (one < other).mean(axis=1))
            mean, low, high = (float(number) for number in found)
            rows.append((arm, against, measure, mean, low, high, len(one)))
    return pd.DataFrame(rows, columns=[column.name for column in COLUMNS["changes"]])


def _sets(values: pd.DataFrame, arm: str) -> pd.DataFrame:
    """By prompt, each measure of each of the arm's sets, a list."""
    return _hits(values[values["arm"] == arm]).groupby("prompt")[["right", "likeliest", "margin"]].agg(list)


def heads_table(alone: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Mean change of every head, over all prompts."""
    table = over_prompts(alone, ["layer", "head"], "change", floor=1e-4)
    sides = choice.chosen[: len(set(choice.half.values()))]
    table["chosen"] = [sum((layer, head) in heads for heads in sides)
                       for layer, head in zip(table["layer"], table["head"], strict=True)]  # fmt: skip
    return table[[column.name for column in COLUMNS["heads"]]]


def prompts_table(model: Model, questions: Sequence[Question], choice: Choice, values: pd.DataFrame) -> pd.DataFrame:
    """One row a prompt."""
    margins = _by_prompt(values).pivot(index="prompt", columns="arm", values="margin")
    rows = []
    for one in questions:
        mine = margins.loc[one.number]
        rivals, looked_at = (" ".join(model.str_tokens(list(ids))) for ids in
                             (one.rivals, [one.ids[place] for place in one.keys]))  # fmt: skip
        side = choice.half[one.number]
        heads = " ".join(f"L{layer}H{head}" for layer, head in choice.chosen[side])
        rows.append((one.number, one.text, model.str_tokens([one.answer])[0], rivals, looked_at, side, heads,
                     mine[PLAIN], mine[TOGETHER], mine[RANDOM]))  # fmt: skip
    return pd.DataFrame(rows, columns=[column.name for column in COLUMNS["prompts"]])


_MEASURES = ((RIGHT, "right"), (FIRST, "likeliest"), (MARGIN, "margin"))


def _hits(values: pd.DataFrame) -> pd.DataFrame:
    return values.assign(right=(values["margin"] > 0).astype(float), likeliest=values["likeliest"].astype(float))


def _by_prompt(values: pd.DataFrame) -> pd.DataFrame:
    return _hits(values).groupby(["prompt", "arm"], sort=False, as_index=False)[["right", "likeliest", "margin"]].mean()
