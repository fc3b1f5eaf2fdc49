"""How near lenses come to the model on texts that they were not fitted on: a row a text, and means over texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from analyses._columns import bounds
from analyses._contract import Column
from analyses._stats import mean_interval
from analyses._trained_lenses.readout import Readout

AVERAGE = "no state"
"""The mean distribution over the fitted rows: what a lens must beat to have read anything."""
MEASURES = ("kl", "agreement")
BOUNDS = {"kl": (0.0, np.inf), "agreement": (0.0, 1.0), "precision": (0.0, 1.0)}
"""What a measure can be; few texts give intervals that would reach beyond."""


def score(
    readout: Readout, states: Tensor, finals: Tensor, text: Tensor, lens: str, keys: Mapping[str, int],
    average: Tensor | None = None,
) -> pd.DataFrame:  # fmt: skip
    """`TEXTS` for one lens: means over the rows of each text; `average` [d_vocab] in place of states that are read."""
    if average is not None:
        kl, same = readout.from_average(average, finals)
    else:
        seen = readout.read(states, finals)
        own = readout.read(finals, finals).top_ids
        assert seen.kl is not None
        kl, same = seen.kl.clamp_min(0.0), (seen.top_ids == own)[:, 0]
    frame = pd.DataFrame({"text": text.numpy(), "kl": kl.double().cpu().numpy(), "agreement": same.cpu().numpy()})
    means = frame.groupby("text").agg(positions=("kl", "size"), kl=("kl", "mean"), agreement=("agreement", "mean"))
    found = means.reset_index().assign(lens=lens)
    for name, value in keys.items():
        found[name] = value
    return found[[*keys, "lens", "text", "positions", "kl", "agreement"]]


def summary(texts: pd.DataFrame, keys: Sequence[str], against: str) -> pd.DataFrame:
    """`SCORES`: means over texts of each key and lens, each text counted once, and how much nearer than `against`."""
    rows = []
    for key, part in texts.groupby([*keys, "lens"], sort=False):
        row: dict[str, object] = dict(zip([*keys, "lens"], key, strict=True))
        same = np.logical_and.reduce([texts[name] == row[name] for name in keys])
        base = texts[same & (texts["lens"] == against)].set_index("text")["kl"].reindex(part["text"])
        for name in MEASURES:
            row |= interval_of(name, part[name])
        gain = base.to_numpy() - part["kl"].to_numpy()
        row |= interval_of("gain", gain) if row["lens"] != against else _none("gain")
        rows.append(row | {"texts": len(part), "positions": int(part["positions"].sum())})
    return pd.DataFrame(rows)


def interval_of(name: str, values: object) -> dict[str, object]:
    """Mean and interval over texts as columns; the interval ends where the measure can go no further."""
    found = mean_interval(np.asarray(values, dtype=np.float64))
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    return {name: float(found.value), f"{name}_low": max(float(found.low), low) if found.low == found.low else np.nan,
            f"{name}_high": min(float(found.high), high) if found.high == found.high else np.nan}  # fmt: skip


def _none(name: str) -> dict[str, object]:
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))


def scores_columns(keys: Sequence[Column], against: str) -> tuple[Column, ...]:
    """The columns of `summary`."""
    return (
        *keys,
        Column("lens", "", f"what reads the layer; {AVERAGE}: the mean distribution over the fitted tokens"),
        Column("kl", "nats", "KL(model's output ‖ lens), mean over tokens of a text, then over texts"),
        *bounds("nats", "kl"),
        Column("agreement", "fraction", "tokens at which lens and model have the same most likely next token"),
        *bounds("fraction", "agreement"),
        Column("gain", "nats", f"KL of the {against} less this one's, paired by text; missing for the {against}"),
        *bounds("nats", "gain"),
        Column("texts", "count", "texts behind the row"),
        Column("positions", "count", "tokens of them"),
    )


def texts_columns(keys: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of `score`."""
    return (
        *keys,
        Column("lens", "", "what reads the layer"),
        Column("text", "", "number of the text, from 0, equal texts counted once"),
        Column("positions", "count", "its tokens that are read; its first is not"),
        Column("kl", "nats", "KL(model's output ‖ lens), mean over them"),
        Column("agreement", "fraction", "of them with the model's own most likely next token"),
    )


CURVES = (
    Column("step", "", "step of the fit"),
    Column("fitted", "nats", "mean KL of the batches since the last row; missing before the first step"),
    Column("checked", "nats", "mean KL on texts that are neither fitted on nor tested with; its lowest step is kept"),
)
ABOUT = (
    Column("lens", "", "the kept lens, or that it was fitted here"),
    Column("model", "", "model that it belongs to"),
    Column("origin", "", "where the texts come from that it was fitted on"),
    Column("fitted_texts", "count", "texts fitted on"),
    Column("fitted_positions", "count", "tokens fitted on"),
    Column("scored", "", "what the scores are of"),
    Column("seen", "count", "scored texts that were among those fitted on"),
    Column("pictured", "", "the text whose cells are pictured"),
)
