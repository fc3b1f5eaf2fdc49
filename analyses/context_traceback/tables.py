"""Frames of the traceback: passages, tasks, and how far attention agrees with leaving passages out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._contract import Column, Frames
from analyses._stats import Estimate, grouped_mean, grouped_rate, rank_correlation
from analyses.context_traceback.passages import Passages

DRAWN, TRUTH = "attention over draws", "leave-one-out"
METHODS = {DRAWN: "score", "attention in one pass": "one_pass", "mean weight in one pass": "mean_weight",
           "later passages first": "later", TRUTH: "drop"}  # fmt: skip
"""What ranks the passages, and its column."""
RANK, TOP, HOLDS = (
    "rank correlation with leave-one-out",
    "same top passage as leave-one-out",
    "top passage holds it, right answers alone",
)


def frames_of(raw: pd.DataFrame, read: Sequence[Passages]) -> Frames:
    """All frames, from the passages' rows and the tasks as they were read."""
    rows = raw[raw["passage"] >= 0]
    passages = rows[[one.name for one in COLUMNS["passages"]]].reset_index(drop=True)
    first = raw.drop_duplicates("task").set_index("task")
    tasks = pd.DataFrame([
        {"task": one.number, "kind": one.task.label or "tasks", "group": one.task.group or one.task.text,
         "prompt": one.task.text, "gold": one.task.gold, "passages": len(one.texts),
         "answer": first["answer"].get(one.number) if "answer" in first else None,
         "answer_tokens": first["answer_tokens"][one.number], "log_prob": first["log_prob"][one.number],
         "right": first["right"][one.number]}
        for one in read
    ])  # fmt: skip
    tasks["right"] = tasks["right"].astype("boolean")
    return {"agreement": agreement_table(passages, tasks), "passages": passages, "tasks": tasks}


def agreement_table(passages: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """Every method's agreement with leave-one-out, and how often its first passage holds the answer.

    The latter is of tasks answered rightly: a wrong answer comes from somewhere else.
    """
    groups, right = (tasks.set_index("task")[name] for name in ("group", "right"))
    cut = [(groups[task], part) for task, part in passages.groupby("task", sort=False)]
    told = [(group, part) for group, part in cut if bool(right[part["task"].iloc[0]])]
    some = [(group, part) for group, part in told if 0 < part["holds"].sum() < len(part)]
    rows = []
    for name, column in METHODS.items():
        if name != TRUTH:
            ranked = [(group, float(rank_correlation(part[column], part["drop"]).value)) for group, part in cut]
            defined = [(group, value) for group, value in ranked if np.isfinite(value)]
            # A correlation beyond 1 is none: the interval of few tasks may reach there.
            mean = Estimate(*(np.clip(one, -1.0, 1.0) for one in _mean(defined)))
            rows.append(_row(name, RANK, mean, len(defined), 0.0))
            same = [(group, first_of_both(part[column], part["drop"])) for group, part in cut]
            rows.append(_row(name, TOP, _rate(same), len(same), float(np.mean([1 / len(part) for _, part in cut]))))
        holds = [(group, float(part["holds"][part[column] == part[column].max()].mean())) for group, part in some]
        chance = float(np.mean([part["holds"].mean() for _, part in some])) if some else np.nan
        rows.append(_row(name, HOLDS, _rate(holds), len(holds), chance))
    return pd.DataFrame(rows)


def first_of_both(one: pd.Series, other: pd.Series) -> float:
    """How often a first of `one` is a first of `other`, where those that are equally first are drawn at random."""
    best, wanted = (values == values.max() for values in (one, other))
    return float((best & wanted).sum() / (best.sum() * wanted.sum()))


def _row(method: str, measure: str, found: Estimate, tasks: int, chance: float) -> dict[str, object]:
    value, low, high = (float(one) for one in found)
    return {"method": method, "measure": measure, "value": value, "low": low, "high": high, "tasks": tasks,
            "chance": chance}  # fmt: skip


def _mean(found: Sequence[tuple[str, float]]) -> Estimate:
    return grouped_mean([value for _, value in found], [group for group, _ in found]) if found else NOTHING


def _rate(found: Sequence[tuple[str, float]]) -> Estimate:
    return grouped_rate([value for _, value in found], [group for group, _ in found]) if found else NOTHING


NOTHING = Estimate(*(np.asarray(np.nan) for _ in range(3)))

COLUMNS = {
    "agreement": (
        Column("method", "", "what ranks the passages"),
        Column("measure", "", "what is counted"),
        Column("value", "fraction", "mean over tasks; Spearman's correlation within a task, or share of tasks"),
        Column("low", "fraction", "lower end of its 95% interval over groups of tasks; missing for one task"),
        Column("high", "fraction", "upper end"),
        Column("tasks", "count", "tasks behind it: those in which it is defined"),
        Column("chance", "fraction", "what an order drawn at random would give"),
    ),
    "passages": (
        Column("task", "", "number of the task, from 0"),
        Column("passage", "", "number of the passage, from 0, in the prompt's order"),
        Column("text", "", "the passage"),
        Column("tokens", "count", "its tokens, without white space"),
        Column("score", "fraction", "mean of its largest weights, mean over the draws that show it"),
        Column("drawn", "count", "draws that show it"),
        Column("one_pass", "fraction", "mean of its largest weights where every passage is shown"),
        Column("mean_weight", "fraction", "mean weight of all its tokens there"),
        Column("later", "", "its place: a control that knows nothing else"),
        Column("drop", "nats", "log p of the answer with all passages, minus that without this one"),
        Column("holds", "", "whether an accepted answer is in it"),
    ),
    "tasks": (
        Column("task", "", "number of the task, from 0"),
        Column("kind", "", "the task's label"),
        Column("group", "", "tasks of one group are not independent"),
        Column("prompt", "", "its text"),
        Column("gold", "", "the first accepted answer"),
        Column("passages", "count", "passages of it"),
        Column("answer", "", "the answer that is traced; NULL where the model says nothing: left out"),
        Column("answer_tokens", "count", "its tokens"),
        Column("log_prob", "nats", "of the whole answer, all passages shown"),
        Column("right", "", "whether an accepted answer is in it"),
    ),
}
