"""The tables of the ablation: changes of the loss by arm, and outliers against each control."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analyses._columns import bounds, no_rows
from analyses._common import LAYER
from analyses._contract import Column
from analyses._stats import lone_p, marked, mean_interval, paired_difference
from analyses.outlier_channels.ablating import MEAN, OUTLIERS, RANDOM, VICTIMS, ZERO

ROUNDING = 1e-5
"""Changes of a text's loss below this, in nats, are how two forwards of the same numbers differ in fp32."""


def ablation_table(raw: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Change of the loss by layer, edit and arm, mean over texts; random draws are averaged within a text."""
    rows, p = [], []
    for layer, part in raw.items():
        for (edit, arm), found in _by_text(part).items():
            mean, low, high = (float(side) for side in mean_interval(found))
            rows.append({"layer": layer, "edit": edit, "arm": arm,
                         "channels": int(part.loc[part["arm"] == arm, "channels"].max()), "change": mean, "low": low,
                         "high": high, "texts": len(found)})  # fmt: skip
            p.append(lone_p(found, ROUNDING))
    return _finished(rows, p, ABLATION)


def contrasts_table(raw: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """The outliers' change − each control's, text by text."""
    rows, p = [], []
    for layer, part in raw.items():
        changes = _by_text(part)
        for edit in (ZERO, MEAN):
            for against in (VICTIMS, RANDOM):
                first, second = changes[edit, OUTLIERS], changes[edit, against]
                mean, low, high = (float(side) for side in paired_difference(first, second))
                rows.append({"layer": layer, "edit": edit, "against": against, "difference": mean, "low": low,
                             "high": high, "texts": len(first)})  # fmt: skip
                p.append(lone_p(first - second, ROUNDING))
    return _finished(rows, p, CONTRASTS)


def _by_text(part: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """By edit and arm, [text] change of the loss."""
    changed = part.assign(change=part["edited"] - part["plain"])
    found = {}
    for edit in (ZERO, MEAN):
        for arm in (OUTLIERS, VICTIMS, RANDOM):
            here = changed[(changed["edit"] == edit) & (changed["arm"] == arm)]
            found[edit, arm] = here.groupby("text")["change"].mean().to_numpy()
    return found


def _finished(rows: list[dict[str, object]], p: list[float], columns: tuple[Column, ...]) -> pd.DataFrame:
    if not rows:
        whole, numbers = ("layer", "channels", "texts"), ("change", "difference", "low", "high")
        types = dict.fromkeys(whole, "int64") | dict.fromkeys(numbers, "float64") | {"discovered": "bool"}
        return no_rows(columns, **types)
    return pd.DataFrame(rows).assign(discovered=marked(p))[[column.name for column in columns]]


def said_of(contrasts: pd.DataFrame, ablation: pd.DataFrame) -> str:
    """Each layer's zeroing in words, or nothing."""
    zeroed, parts = contrasts[contrasts["edit"] == ZERO], []
    for layer, here in ablation[ablation["edit"] == ZERO].groupby("layer", sort=False):
        changes = here.set_index("arm")["change"].to_dict()
        words = ", ".join(f"{arm} {changes[arm]:+.3f}" for arm in (OUTLIERS, VICTIMS, RANDOM))
        told = bool(zeroed[zeroed["layer"] == layer]["discovered"].all())
        parts.append(f"layer {layer}: {words}{'' if told else ' (not told from both controls)'}")
    return f"Set to zero, nats a token, {'; '.join(parts)}".replace("-", "−") if parts else ""


_FOUND = Column("discovered", "", "told from zero at a false discovery rate of 5%; never below 6 texts")
_SIDES = (
    *bounds("nats"),
    Column("texts", "count", "texts behind the row"),
)
_EDIT = Column("edit", "", "zero, or mean: the channel's mean over those tokens of the other texts")
ABLATION = (
    LAYER, _EDIT,
    Column("arm", "", "outliers; victims: read most alike by the next weights; random: others at random"),
    Column("channels", "count", "channels that are set"),
    Column("change", "nats", "mean over texts of edited − plain loss a token; positive: worse"),
    *_SIDES, _FOUND,
)  # fmt: skip
CONTRASTS = (
    LAYER, _EDIT, Column("against", "", "the control: victims, or random"),
    Column("difference", "nats", "the outliers' change − the control's, mean over texts"),
    *_SIDES, _FOUND,
)  # fmt: skip
