"""The pairs behind patching scores: their two unpatched runs, whether they have a gap, and scores as shares of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._common import with_gap
from analyses._contract import Column, Context
from analyses._patching_table import ROUNDING
from analyses._stats import Bools, Floats, discoveries, mean_interval, ratio_interval
from hooks.metrics import LogitDiff, logit_diff
from hooks.pairs import AlignedPair

if TYPE_CHECKING:
    from hooks.model import Model

PAIR = (
    Column("pair", "", "pair number"),
    Column("clean", "", "clean prompt"),
    Column("corrupted", "", "corrupted prompt"),
    Column("answer", "", "right token for clean"),
    Column("distractor", "", "right token for corrupted"),
    Column("tokens", "count", "tokens of each prompt"),
)
"""The columns that say which pair a row is of."""
PAIRS = (
    *PAIR,
    Column("clean_logit_diff", "logits", "logit(answer) − logit(distractor) of the clean run"),
    Column("corrupted_logit_diff", "logits", "the same of the corrupted run"),
    Column("used", "", "whether it is in the means; False: clean and corrupted answer alike, no gap"),
)


def ids_of(model: Model, pair: AlignedPair) -> tuple[Tensor, Tensor]:
    """Clean and corrupted token ids, each [1 pos]."""
    clean, corrupted = (torch.tensor([ids], device=model.device) for ids in (pair.clean_ids, pair.corrupted_ids))
    return clean, corrupted


def sides(model: Model, pair: AlignedPair) -> tuple[Tensor, Tensor, LogitDiff]:
    """Clean and corrupted token ids, each [1 pos], and the metric between the pair's two answers."""
    return *ids_of(model, pair), logit_diff(pair.answer_id, pair.distractor_id)


def described(model: Model, aligned: Sequence[AlignedPair], context: Context) -> pd.DataFrame:
    """The frame that `PAIRS` declares, from one forward a prompt.

    Raises:
        InputError: no pair has different logit differences in its two runs.
    """
    rows: list[dict[str, Any]] = []
    for index, one in enumerate(aligned):
        if len(aligned) > 1:
            context.progress(0.0, f"reading pair {index + 1} of {len(aligned)}")
        clean, corrupted, metric = sides(model, one)
        values = [float(metric(model.logits(ids, last_only=True)[:, -1])[0]) for ids in (clean, corrupted)]
        pair = one.pair
        rows.append({
            "pair": index, "clean": pair.clean, "corrupted": pair.corrupted, "answer": pair.answer,
            "distractor": pair.distractor, "tokens": len(one.clean_ids), "clean_logit_diff": values[0],
            "corrupted_logit_diff": values[1],
        })  # fmt: skip
    pairs = pd.DataFrame(rows)
    return pairs.assign(used=with_gap(pairs["clean_logit_diff"], pairs["corrupted_logit_diff"]))


def used_pairs(pairs: pd.DataFrame) -> list[int]:
    """Numbers of the pairs that have a gap."""
    return [int(index) for index in pairs.index[pairs["used"]]]


def gaps(pairs: pd.DataFrame) -> Floats:
    """[used pair] corrupted − clean logit difference: what a patch of everything would add to the clean run."""
    used = pairs[pairs["used"]]
    return (used["corrupted_logit_diff"] - used["clean_logit_diff"]).to_numpy(dtype=np.float64)


def shares(changes: Floats, gap: Floats) -> dict[str, Floats | Bools]:
    """Columns mean, low, high (share of the gap), change, change_low, change_high (logits), discovered, of each cell.

    `changes` [pair cell] in logits, `gap` [pair]. The share is the ratio of the two means.
    """
    # A forward's own rounding, always the same way, would be a discovery with enough prompts.
    found = discoveries(np.where(np.abs(changes) < ROUNDING, 0.0, changes)).found
    share, change = ratio_interval(changes, gap), mean_interval(changes)
    return {"mean": share.value, "low": share.low, "high": share.high, "change": change.value,
            "change_low": change.low, "change_high": change.high, "discovered": found}  # fmt: skip
