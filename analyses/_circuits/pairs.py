"""The pairs behind a circuit: their two runs, a goodness for each, and which of them have something to explain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._common import LEAST_GAP, beginning
from analyses._contract import Column, Context
from analyses._pairs import PAIR, ids_of
from hooks.edges import MetricName, goodness
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair, PromptPair

if TYPE_CHECKING:
    from hooks.model import Model

PAIRS = (
    *PAIR,
    Column("clean_metric", "metric", "the metric of the clean run"),
    Column("corrupted_metric", "metric", "the metric of the corrupted run"),
    Column("logit_diff", "logits", "logit(answer) − logit(distractor) of the clean run"),
    Column("use", "", "what it was used for; 'no effect': clean and corrupted give the same metric, left out"),
)
LEFT_OUT = "no effect"


def pairs_table(
    model: Model, aligned: Sequence[AlignedPair], metric: MetricName, use: str, context: Context
) -> tuple[pd.DataFrame, list[Metric]]:
    """The frame that `PAIRS` declares, and each pair's metric; two forwards a pair.

    Raises:
        InputError: no pair's metric differs between clean and corrupted (names the first such pair).
    """
    rows: list[dict[str, Any]] = []
    metrics = []
    for index, one in enumerate(aligned):
        context.progress(0.0, f"reading pair {index + 1} of {len(aligned)}")
        near, far = (model.logits(ids, last_only=True)[:, -1] for ids in ids_of(model, one))
        read = goodness(metric, one.answer_id, one.distractor_id, near[0])
        diff = goodness("logit_diff", one.answer_id, one.distractor_id, near[0])
        metrics.append(read)
        values = [float(read(logits)[0]) for logits in (near, far)]
        pair = one.pair
        rows.append({
            "pair": index, "clean": pair.clean, "corrupted": pair.corrupted, "answer": pair.answer,
            "distractor": pair.distractor, "tokens": len(one.clean_ids), "clean_metric": values[0],
            "corrupted_metric": values[1], "logit_diff": float(diff(near)[0]),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    gap = (table["clean_metric"] - table["corrupted_metric"]).abs()
    _refuse_no_effect(table, gap.to_numpy(), metric)
    return table.assign(use=np.where(gap > LEAST_GAP, use, LEFT_OUT)), metrics


def _refuse_no_effect(table: pd.DataFrame, gap: np.ndarray, metric: str) -> None:
    if (gap > LEAST_GAP).any():
        return
    one = table.iloc[0]
    whose = "the pair" if len(table) == 1 else f"all {len(table)} pairs, the first being the pair"
    raise InputError(
        f"there is no total effect to trace: {metric} is {one['clean_metric']:.4g} both for the clean and for the "
        f"corrupted prompt of {whose} {beginning(one['clean'])!r}; choose a corruption that changes the answer"
    )


def digest(pair: PromptPair) -> str:
    """What a kept circuit remembers of a pair that it was scored on."""
    return hashlib.sha256(f"{pair.clean}\0{pair.corrupted}".encode()).hexdigest()[:16]


def halves(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the pairs to score on, and of those held out; one pair is both."""
    if count == 1:
        return [0], [0]
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[: (count + 1) // 2]), sorted(order[(count + 1) // 2 :])
