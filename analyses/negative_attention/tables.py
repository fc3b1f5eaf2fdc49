"""Frames of negative attention: heads, the bias of the answers, and what masking changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._common import HEAD, LAYER, MARKED, interval, over_prompts
from analyses._contract import Column
from analyses._stats import Estimate, grouped_mean, grouped_rate, matched_difference
from analyses.negative_attention.computing import RANDOM, TOP_NO, Choice, Question

ACCURACY, SAID_NO, ODDS = "accuracy", "share of no", "log odds of no"
ALL, YES_TRUE, NO_TRUE = "all", "yes is true", "no is true"
BEYOND = "top − random heads, no masked"


def heads_table(raw: pd.DataFrame, questions: Sequence[Question], choice: Choice) -> pd.DataFrame:
    """Mean negative attention score of every head, with its interval and mark over groups."""
    groups = {one.number: one.group for one in questions}
    table = over_prompts(raw, ["layer", "head"], "score", groups=groups)
    mass = raw.groupby(["layer", "head"], sort=False)["mass"].mean().reset_index()
    table = table.merge(mass, on=["layer", "head"])
    both = [sum((int(layer), int(head)) in half for half in choice.top) for layer, head in
            zip(table["layer"], table["head"], strict=True)]  # fmt: skip
    return table.assign(masked=both)[[one.name for one in COLUMNS["heads"]]]


def tasks_table(raw: pd.DataFrame, questions: Sequence[Question], choice: Choice) -> pd.DataFrame:
    """A row a question: its truth, what the model prefers."""
    odds = raw.groupby("prompt")["odds"].first()
    return pd.DataFrame([
        {"task": one.number, "kind": one.task.label or "tasks", "group": one.group, "prompt": one.task.text,
         "no_true": one.no_true, "no_first": one.no[0] < one.yes[0], "odds": odds[one.number],
         "said_no": bool(odds[one.number] > 0), "right": bool((odds[one.number] > 0) == one.no_true),
         "half": choice.half[one.number]}
        for one in questions
    ])  # fmt: skip


def bias_table(tasks: pd.DataFrame) -> pd.DataFrame:
    """How often the model prefers no, and is right, by which is true."""
    rows = []
    for name, part in ((ALL, tasks), (YES_TRUE, tasks[~tasks["no_true"]]), (NO_TRUE, tasks[tasks["no_true"]])):
        if not len(part):
            continue
        for measure, column in ((SAID_NO, "said_no"), (ACCURACY, "right")):
            value, low, high = grouped_rate(part[column].astype(float), list(part["group"]))
            rows.append({"truth": name, "measure": measure, "value": float(value), "low": float(low),
                         "high": float(high), "tasks": len(part), "clusters": part["group"].nunique()})  # fmt: skip
    return pd.DataFrame(rows)


def effects_table(tasks: pd.DataFrame, masked: pd.DataFrame) -> pd.DataFrame:
    """Every arm against the unchanged run, question by question, and the top heads against the random ones.

    Several random sets are averaged within a question.
    """
    groups, odds = list(tasks["group"]), tasks["odds"].to_numpy(dtype=float)
    truth = tasks["no_true"].to_numpy(dtype=bool)
    sets = {str(arm): np.stack([one.to_numpy(dtype=float) for _, one in part.groupby("prompt", sort=True)["odds"]])
            for arm, part in masked.groupby("arm", sort=False)}  # fmt: skip
    compared = {arm: (odds[:, None], found) for arm, found in sets.items()}
    if {TOP_NO, RANDOM} <= set(sets):
        compared[BEYOND] = (sets[RANDOM], sets[TOP_NO])
    rows = []
    for arm, (first, second) in compared.items():
        before = {ACCURACY: (first > 0) == truth[:, None], SAID_NO: first > 0}
        after = {ACCURACY: (second > 0) == truth[:, None], SAID_NO: second > 0}
        for measure in (ACCURACY, SAID_NO):
            won = (after[measure] & ~before[measure]).mean(axis=1)
            lost = (~after[measure] & before[measure]).mean(axis=1)
            found = matched_difference(won, lost, groups=groups)
            rows.append(_row(arm, measure, before[measure].mean(), after[measure].mean(), found, tasks))
        moved = grouped_mean(second.mean(axis=1) - first.mean(axis=1), groups)
        rows.append(_row(arm, ODDS, first.mean(), second.mean(), moved, tasks))
    return pd.DataFrame(rows)


def _row(
    arm: str, measure: str, plain: float, edited: float, found: Estimate, tasks: pd.DataFrame
) -> dict[str, object]:  # fmt: skip
    value, low, high = (float(one) for one in found)
    return {"arm": arm, "measure": measure, "plain": float(plain), "edited": float(edited), "difference": value,
            "low": low, "high": high, "tasks": len(tasks), "clusters": tasks["group"].nunique()}  # fmt: skip


COUNTS = (Column("tasks", "count", "questions behind the row"), Column("clusters", "count", "groups among them"))
COLUMNS = {
    "heads": (
        LAYER,
        HEAD,
        *interval("nats"),
        *MARKED,
        Column("mass", "fraction", "mean weight of a final query on both candidates"),
        Column("masked", "count", "halves of the groups, of 2, whose top heads it is one of"),
    ),
    "bias": (
        Column("truth", "", "which questions"),
        Column("measure", "", f"{SAID_NO}: the model prefers no; {ACCURACY}: it prefers what is true"),
        Column("value", "fraction", "share of the questions"),
        Column("low", "fraction", "lower end of its 95% interval over groups"),
        Column("high", "fraction", "upper end"),
        *COUNTS,
    ),
    "effects": (
        Column("arm", "", "what the final queries of which heads no longer see"),
        Column("measure", "", f"{ACCURACY} and {SAID_NO} are shares, {ODDS} is in nats"),
        Column("plain", "", f"unchanged; of {BEYOND!r} with the random heads masked"),
        Column("edited", "", "masked; of several random sets the mean"),
        Column("difference", "", "masked minus unchanged, question by question"),
        Column("low", "", "lower end of its 95% interval over groups"),
        Column("high", "", "upper end"),
        *COUNTS,
    ),
    "tasks": (
        Column("task", "", "number of the task, from 0"),
        Column("kind", "", "its label"),
        Column("group", "", "tasks of one group are not independent"),
        Column("prompt", "", "its text"),
        Column("no_true", "", "whether the negative candidate is right"),
        Column("no_first", "", "whether the negative candidate is named first"),
        Column("odds", "nats", "log p(no) minus log p(yes) after the prompt"),
        Column("said_no", "", "whether no is preferred"),
        Column("right", "", "whether what is true is preferred"),
        Column("half", "", "its half; its heads are chosen in the other"),
    ),
}
