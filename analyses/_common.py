"""What most analyses need besides their own mathematics: layers, common columns, means over prompts, progress.

Rule for columns: what is absent is NULL (pandas `Int64` with NA), never −1, and a column that names the kind of row
says what the row is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import Field

from analyses._columns import bounds
from analyses._contract import Column, Context
from analyses._over_prompts import Groups, clusters_of, matrix, over_prompts, own_groups, rate_over_prompts
from analyses._stats import FEWEST
from hooks.attention_statistics import checked_layers
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

__all__ = [
    "CLUSTER",
    "DONE",
    "FOUND",
    "HEAD",
    "LAYER",
    "LEAST_GAP",
    "MARKED",
    "POSITION",
    "TOKENS",
    "Groups",
    "absent",
    "beginning",
    "checked_layers",
    "clusters_of",
    "grey_note",
    "grey_over",
    "interval",
    "layers_field",
    "matrix",
    "mean_of",
    "one_layer",
    "over_prompts",
    "own_groups",
    "rate_over_prompts",
    "sample_note",
    "steps",
    "tokens_frame",
    "with_gap",
]

Item = TypeVar("Item")

LAYER = Column("layer", "", "layer, from 0")
HEAD = Column("head", "", "query head, from 0")
POSITION = Column("position", "", "token position, from 0")
TOKENS = (POSITION, Column("token", "", "the prompt's token"), Column("token_id", "", "its id"))
FOUND = (
    Column("discovered", "", "told from zero with at most 5% of those so marked being false; never below 6 prompts"),
    Column("prompts", "count", "prompts behind the row"),
)
MARKED = (
    Column("discovered", "", FOUND[0].description.replace("6 prompts", "6 clusters of prompts")),
    FOUND[1],
    Column("clusters", "count", "different clusters among them; intervals and marks are over these"),
)
"""In place of `FOUND` where prompts of one cluster are not independent (`over_prompts` with `groups`)."""
CLUSTER = Column("cluster", "", "what prompts share that are not independent: the task's group, else the text itself")

BEGINS = 60
"""Letters of a text that are shown."""

DONE = 0.75
"""Share of a set's prompts that the model must get right for the set to count as a task that it does."""

LEAST_GAP = 1e-3
"""Clean and corrupted metrics nearer than this leave nothing to restore: their ratio would be rounding."""


def layers_field(words: str = "layers to read") -> Any:
    """The spec field `layers: tuple[int, ...]`; check it with `checked_layers`."""
    return Field((), description=f"{words}; none given means all")


def one_layer(read: Sequence[int], layer: int | None, option: str = "layer") -> int:
    """The layer to draw: `layer`, or the first that was read. Raises InputError when it is not among those read."""
    known = sorted({int(place) for place in read})
    if layer is None:
        return known[0]
    if layer not in known:
        every = known == list(range(known[-1] + 1)) and len(known) > 1
        valid = f"0 to {known[-1]}" if every else ", ".join(map(str, known))
        raise InputError(f"option {option} = {layer}: the layers that are read are {valid}")
    return layer


def beginning(text: str) -> str:
    """The first BEGINS letters of a text, for people."""
    return text if len(text) <= BEGINS else text[:BEGINS] + "…"


def tokens_frame(model: Model, ids: Sequence[int]) -> pd.DataFrame:
    """The frame that `TOKENS` declares: every position's token and id."""
    return pd.DataFrame({"position": range(len(ids)), "token": model.str_tokens(list(ids)), "token_id": list(ids)})


def interval(unit: str, what: str = "mean over prompts") -> tuple[Column, ...]:
    """Columns mean, low, high, all in `unit`."""
    return (
        Column("mean", unit, f"{what}; the one prompt's value when there is one"),
        *bounds(unit, over="prompts"),
    )


def absent(frame: pd.DataFrame, column: str, where: Any) -> pd.DataFrame:
    """A copy in which `column` is NULL where `where` is true, and whole numbers stay whole."""
    return frame.assign(**{column: frame[column].astype("Int64").mask(np.asarray(where, dtype=bool))})


def with_gap(clean: Any, corrupted: Any) -> list[bool]:
    """Which prompts have a metric that differs between their clean and corrupted runs, so that recovery is defined.

    Both are [prompt]. Raises InputError when none has.
    """
    gaps = np.abs(np.asarray(clean, dtype=np.float64) - np.asarray(corrupted, dtype=np.float64))
    kept = gaps > LEAST_GAP
    if not kept.any():
        which = (
            "the pair's clean and corrupted prompts give" if len(gaps) == 1 else f"in all {len(gaps)} pairs both give"
        )
        raise InputError(
            f"recovery is undefined: {which} the same logit difference (apart by {gaps.max(initial=0):.2g} at most); "
            "choose a corruption that changes the answer"
        )
    return [bool(one) for one in kept]


def sample_note(
    metric: Any, *, threshold: float = 0.0, dropped: int = 0, noun: str = "prompt", did: str = "answer preferred",
    clusters: Sequence[Any] | None = None,
) -> str:  # fmt: skip
    """Whose numbers a figure shows, for its note: "One prompt" or "Mean of 12 prompts, answer preferred in 11".

    `metric` [prompt] of the unchanged run, above `threshold` where the model does the task; when it does so for fewer
    than DONE of them, the note begins by saying so. `dropped` counts those left out of the means, `did` says what a
    metric above the threshold means, `clusters` [prompt] what prompts share that are not independent.
    """
    numbers = np.asarray(metric, dtype=np.float64)
    right = int((numbers > threshold).sum())
    left_out = f"; {dropped} without a gap between clean and corrupted left out" if dropped else ""
    counted = "" if len(numbers) == 1 else f", {did} in {right}"
    words = f"{mean_of(len(numbers), clusters, noun)}{counted}{left_out}"
    return words if right >= DONE * len(numbers) else f"This model does not do this task. {words}"


def mean_of(count: int, clusters: Sequence[Any] | None = None, noun: str = "prompt") -> str:
    """Whose mean a figure shows: "One prompt", "Mean of 8 prompts", or "Mean of 8 prompts of 5 clusters"."""
    if count == 1:
        return f"One {noun}"
    different = count if clusters is None else len(set(clusters))
    plural = "one cluster" if different == 1 else f"{different} clusters"
    return f"Mean of {count} {noun}s" + (f" of {plural}" if different < count else "")


def grey_note(prompts: int, of: str = "no effect", noun: str = "prompts") -> str:
    """What grey cells mean in a figure that hides those not discovered; `noun` says what is counted."""
    if prompts < FEWEST:
        return f"grey: {prompts} {noun} are too few to tell any cell from {of}, {FEWEST} are needed"
    return f"grey: not told from {of} (false discovery rate 5%, {prompts} {noun})"


def grey_over(rows: pd.DataFrame, of: str = "no effect") -> str:
    """`grey_note` for rows with `MARKED`: it counts clusters where there are fewer of these than prompts."""
    prompts, clusters = (int(rows[name].max()) for name in ("prompts", "clusters"))
    return grey_note(clusters, of, "clusters of prompts") if clusters < prompts else grey_note(prompts, of)


def steps(
    context: Context, items: Sequence[Item], words: str, *, first: float = 0.0, last: float = 1.0
) -> Iterator[tuple[Item, Context]]:
    """Each item with a context of its own, whose progress 0…1 is the item's share of `first`…`last`.

    Says "pair 3 of 8" before each item for words "pair"; also where a cancelled run stops.
    """
    share = (last - first) / max(len(items), 1)
    for index, item in enumerate(items):
        told, start = f"{words} {index + 1} of {len(items)}", first + index * share

        def inner(fraction: float, label: str, told: str = told, start: float = start) -> None:
            context.progress(start + share * fraction, f"{told}, {label}")

        context.progress(start, told)
        yield item, replace(context, progress=inner)
