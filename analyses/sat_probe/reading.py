"""What the probe is fitted on: each question's weights on its constraint, and whether its answer is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._answers import answered, continuations
from analyses._common import steps
from analyses._contract import Context
from analyses._stats import Floats
from hooks.attention_rows import read_rows
from hooks.errors import InputError, about
from hooks.spans import in_order, positions_inside
from hooks.tasks import TaskPrompt

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.sat_probe import SatSpec
    from hooks.model import Model

CHUNK = 64
"""Questions of one part of a run."""


@dataclass(frozen=True)
class Asked:
    """One question: its text, accepted answers, constraint, the constraint's positions and first character."""

    number: int
    text: str
    answers: tuple[str, ...]
    constraint: str
    places: tuple[int, ...]
    ids: tuple[int, ...]
    group: str
    start: int

    @property
    def wording(self) -> str:
        """The text with … in the constraint's place."""
        return self.text[: self.start] + "…" + self.text[self.start + len(self.constraint) :]


@dataclass(frozen=True, eq=False)
class Examples:
    """`rows` [question]: task, wording, group, right, log_prob and the other baselines; `weights` is
    [question layer head]."""

    rows: pd.DataFrame
    weights: Floats


def asked_of(model: Model, tasks: Sequence[TaskPrompt], spec: SatSpec) -> list[Asked]:
    """The different questions of these tasks.

    Raises:
        InputError: a task without the side question or the span, a constraint that is not in the question, splits a
            token, or covers the whole prompt.
    """
    found: dict[str, Asked] = {}
    for number, task in enumerate(tasks):
        text, answers = task.text, task.answers
        if spec.side is not None:
            with about(f"task {number}"):
                one = task.side(spec.side)
            text, answers = one.text, one.answers
        if text in found:
            names = dict.fromkeys((*found[text].answers, *answers))
            found[text] = replace(found[text], answers=tuple(names))
            continue
        with about(f"task {number}"):
            constraint = task.span(spec.span_role).strip()
            ((start, end),) = in_order(model, text, [constraint])
            places, ids = positions_inside(model, text, start, end), tuple(model.encode(text))
        if len(places) == len(ids):
            raise InputError(
                f"task {number}: the constraint {constraint!r} covers the whole prompt of {len(ids)} tokens; ask "
                "something about it"
            )
        found[text] = Asked(number, text, answers, constraint, places, ids, task.group or constraint, start)
    return joined(list(found.values()))


def joined(asked: Sequence[Asked]) -> list[Asked]:
    """The same with one group for all questions that a chain of shared groups and constraints leads to."""
    name: dict[str, str] = {}

    def root(one: str) -> str:
        while name.setdefault(one, one) != one:
            one = name[one]
        return one

    for one in asked:
        name[root(f"c {one.constraint}")] = root(f"g {one.group}")
    return [replace(one, group=root(f"g {one.group}")[2:]) for one in asked]


def examples(model: Model, asked: Sequence[Asked], spec: SatSpec, context: Context) -> Examples:
    """Ask every question and read it, a part of the run for every few of them."""
    parts = []
    starts = range(0, len(asked), CHUNK)
    for start, inner in steps(context, starts, "part", last=0.7):
        compute = partial(_part, model, asked[start : start + CHUNK], spec, inner)
        parts.append(context.part(f"questions {start}", compute))
    raw = pd.concat(parts, ignore_index=True)
    shape = model.geometry.n_layers, model.geometry.n_heads
    weights = np.stack([
        raw[f"w{layer}"].to_numpy(dtype=np.float64).reshape(len(asked), shape[1]) for layer in range(shape[0])
    ], axis=1)  # fmt: skip
    first = raw.iloc[:: shape[1]].reset_index(drop=True)
    rows = pd.DataFrame({
        "task": [one.number for one in asked], "wording": [one.wording for one in asked],
        "group": [one.group for one in asked], "prompt": [one.text for one in asked],
        "constraint": [one.constraint for one in asked], "gold": [one.answers[0] for one in asked],
        "said": first["said"], "right": first["right"].astype(bool), "log_prob": first["log_prob"],
        "constraint_tokens": [len(one.places) for one in asked],
        "constraint_rarity": [float(np.mean([np.log1p(one.ids[at]) for at in one.places])) for one in asked],
    })  # fmt: skip
    return Examples(rows, weights)


def _part(model: Model, asked: Sequence[Asked], spec: SatSpec, context: Context) -> pd.DataFrame:
    """A row a question and head: the weight in every layer (w0 …), what was said, whether it is right."""
    said = continuations(model, [one.text for one in asked], spec.new_tokens,
                         lambda share, label: context.progress(share / 2, label))  # fmt: skip
    frames = []
    for place, (one, words) in enumerate(zip(asked, said, strict=True)):
        context.progress(0.5 + place / len(asked) / 2, f"attention of question {place + 1} of {len(asked)}")
        weights, log_prob = constraint_weights(model, one)
        columns = {f"w{layer}": row for layer, row in enumerate(weights)}
        right = answered(words, one.answers, whole_words=spec.whole_words)
        frames.append(pd.DataFrame(columns).assign(said=words, right=right, log_prob=log_prob))
    return pd.concat(frames, ignore_index=True)


def constraint_weights(model: Model, one: Asked) -> tuple[Floats, float]:
    """The largest weight of the last token on a constraint token, [layer head], and log p of the likeliest token."""
    found = np.zeros((model.geometry.n_layers, model.geometry.n_heads))

    def each(layer: int, rows: Tensor) -> None:
        found[layer] = rows[:, 0, list(one.places)].amax(dim=-1).numpy()

    log_probs = read_rows(model, one.ids, [len(one.ids) - 1], each)
    return found, float(log_probs[-1].max())
