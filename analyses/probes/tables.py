"""The frames of probes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analyses._common import beginning
from analyses._stats import Bools, Floats, grouped_mean, grouped_rate, rate_interval
from analyses.probes.applying import NOTHING, PROBE, RANDOM
from analyses.probes.columns import COLUMNS, MEASURES, SHARES
from analyses.probes.fitting import Probe, most_different
from analyses.probes.reading import Labelled
from analyses.probes.scoring import Folds, Predictions
from analyses.steering.tables import spread


def framed(name: str, rows: Any) -> pd.DataFrame:
    """Rows as the frame of that name: its columns in order, also where there are no rows."""
    names = [column.name for column in COLUMNS[name]]
    frame = pd.DataFrame(rows, columns=None if len(rows) else names)[names]
    if not len(rows):
        # What has no rows has its types all the same, or a store's column would be text from its first run on.
        return frame.astype({one: _TYPES.get(one, "float64") for one in names})
    whole = [one for one in ("k", "draw", "layer") if one in names]
    return frame.assign(**{one: frame[one].astype("Int64") for one in whole})


_TYPES = (
    dict.fromkeys(("class", "edit", "arm", "measure", "group", "predicted"), "str")
    | dict.fromkeys(("latent", "rank", "item", "texts"), "int64")
    | {"draw": "Int64", "beyond_random": "boolean"}
)


def confusion(given: Labelled, found: Predictions) -> pd.DataFrame:
    """Shares of each class's rows by the class predicted."""
    weight = given.targets / given.targets.sum(axis=1, keepdims=True)
    hit = np.flatnonzero(found.hits)
    weight[hit] = np.eye(len(given.classes))[found.predicted[hit]]
    table = np.stack([weight[found.predicted == place].sum(axis=0) for place in range(len(given.classes))], axis=1)
    total = np.maximum(table.sum(axis=1), 1e-12)
    return framed("confusion", [
        {"true": name, "predicted": other, "share": table[i, j] / total[i], "rows": float(table[i].sum())}
        for i, name in enumerate(given.classes) for j, other in enumerate(given.classes)
    ])  # fmt: skip


def items_table(given: Labelled, folds: Folds, found: Predictions) -> pd.DataFrame:
    """Every row with its held-out prediction."""
    return framed("items", [
        {"item": one.number, "begins": beginning(" ".join(one.text.split())), "group": beginning(one.group),
         "classes": " | ".join(name for name, mine in zip(given.classes, given.targets[row], strict=True) if mine),
         "fold": int(folds[row]), "predicted": given.classes[found.predicted[row]],
         "probability": float(found.sure[row]), "hit": bool(found.hits[row])}
        for row, one in enumerate(given.items)
    ])  # fmt: skip


def latents_table(given: Labelled, latents: Floats, folds: Folds, probe: Probe, k: int) -> pd.DataFrame:
    """The k latents of every class in a probe of all rows."""
    rows = []
    for place, name in enumerate(given.classes):
        mine = given.targets[:, place]
        parts = [np.array(folds != fold) for fold in np.unique(folds)]
        usable = [part for part in parts if 0 < mine[part].sum() < part.sum()]
        often = [most_different(latents[part], mine[part], k) for part in usable]
        for rank, latent in enumerate(most_different(latents, mine, k), 1):
            inside, outside = latents[mine, latent], latents[~mine, latent]
            rows.append({
                "class": name, "latent": int(latent), "rank": rank, "weight": float(probe.weights[place, latent]),
                "mean_in": float(inside.mean()), "mean_out": float(outside.mean()),
                "active_in": float((inside > 0).mean()), "active_out": float((outside > 0).mean()),
                "chosen": float(np.mean([latent in one for one in often])) if often else np.nan,
            })  # fmt: skip
    return framed("latents", rows)


def applied_table(edits: pd.DataFrame, refit: list[dict[str, Any]]) -> pd.DataFrame:
    """Means over held-out texts of every measure, edit and arm; `refit` are rows already made."""
    rows = list(refit)
    for (edit, amount, arm), part in edits.groupby(["edit", "amount", "arm"], sort=False, dropna=False):
        for measure in MEASURES:
            finite = part[np.isfinite(part[measure])]
            if len(finite) and (edit != NOTHING or measure in SHARES):
                value, low, high = _summary(finite, measure, arm == RANDOM)
                rows.append({"edit": edit, "amount": amount, "arm": arm, "measure": measure, "mean": value, "low": low,
                             "high": high, "texts": finite["item"].nunique()})  # fmt: skip
    frame, keys = pd.DataFrame(rows), ["edit", "amount", "measure"]
    chance = frame.loc[frame["arm"] == RANDOM, [*keys, "low", "high"]]
    chance = chance.rename(columns={"low": "random_low", "high": "random_high"})
    bounds = frame.merge(chance, on=keys, how="left", validate="many_to_one")
    outside = (frame["mean"] < bounds["random_low"]) | (frame["mean"] > bounds["random_high"])
    # Draws that all agree show no spread to be beyond of.
    known = (frame["arm"] == PROBE) & (bounds["random_high"] > bounds["random_low"])
    return framed("applied", frame.assign(beyond_random=outside.astype("boolean").mask(~known)))


def _summary(part: pd.DataFrame, measure: str, drawn: bool) -> tuple[float, float, float]:
    """Mean and interval: of random directions over draws, else over texts, those of a group together."""
    values = part[measure].to_numpy(dtype=np.float64)
    if drawn:
        found = spread(part.groupby("draw")[measure].mean().to_numpy(dtype=np.float64))
    elif measure in SHARES and part["group"].nunique() == len(part):
        found = rate_interval(values.sum(), len(values))
    else:
        found = grouped_mean(values, list(part["group"]))
    ends = np.clip(found, 0.0, 1.0) if measure in SHARES else np.asarray(found)
    return float(ends[0]), float(ends[1]), float(ends[2])


def refit_row(edit: str, arm: str, found: Bools, groups: list[str]) -> dict[str, Any]:
    """Accuracy of a new probe of ablated vectors, from its hits; Wilson's interval where every row stands alone."""
    hits = found.astype(float)
    alone = len(set(groups)) == len(groups)
    value, low, high = rate_interval(hits.sum(), len(hits)) if alone else grouped_rate(hits, groups)
    return {"edit": edit, "amount": np.nan, "arm": arm, "measure": "refit", "mean": float(value), "low": float(low),
            "high": float(high), "texts": len(groups)}  # fmt: skip


def drawn_refit_row(accuracies: list[float], texts: int) -> dict[str, Any]:
    """The same where random subspaces of the rank were taken away, one a draw: mean, and where further draws lie."""
    value, low, high = np.clip(spread(np.array(accuracies)), 0.0, 1.0)
    return {"edit": "ablate", "amount": np.nan, "arm": RANDOM, "measure": "refit", "mean": float(value),
            "low": float(low), "high": float(high), "texts": texts}  # fmt: skip
