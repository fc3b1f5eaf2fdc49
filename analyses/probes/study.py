"""All probes of a run: every site, layer and method on the same folds, and the one that is shown, kept and applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._contract import Context
from analyses._stats import Floats, discoveries, grouped_rate, rate_interval
from analyses.probes.choosing import sites_of
from analyses.probes.fitting import K_CHANNELS, K_SPARSE, KEPT, fitted, k_sparse
from analyses.probes.kept import Placed as PlacedProbe
from analyses.probes.reading import Labelled, vectors, words_alone
from analyses.probes.scoring import (
    Control,
    Fit,
    Folds,
    Predictions,
    chance,
    control_hits,
    ece,
    log_loss,
    majority,
    predictions,
    reliability,
    selectivity,
)
from analyses.probes.tables import framed
from hooks.dictionaries import Placed
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class Cell:
    """One probe of the table: where it reads, how it is fitted, on what, and its held-out predictions."""

    site: Site
    method: str
    k: int | None
    x: Floats
    fit: Fit
    found: Predictions

    def row(self) -> dict[str, Any]:
        """Its coordinates in a table."""
        return {"site": self.site.kind, "layer": self.site.layer, "method": self.method, "k": self.k}


def all_cells(
    model: Model, given: Labelled, folds: Folds, placed: Placed | None, spec: ProbesSpec, context: Context,
    span: tuple[float, float],
) -> list[Cell]:  # fmt: skip
    """Every probe, tested on held-out groups."""
    sites, middle = sites_of(model, spec), (span[0] + span[1]) / 2
    everywhere = [*sites, *([placed.reads] if placed and placed.reads not in sites else [])]
    x, latents = vectors(model, given.items, everywhere, spec.position, context, (span[0], middle), placed)
    plans: list[tuple[Site, str, int | None, Floats, Fit]] = []
    for site in sites:
        plans += [(site, method, None, x[site], partial(fitted, method=method, c=spec.c))
                  for method in dict.fromkeys(spec.methods)]  # fmt: skip
    if placed is not None and latents is not None:
        for k in sorted(set(spec.sparsities)):
            plans += [(placed.reads, name, k, values, partial(k_sparse, k=k, c=1.0))
                      for name, values in ((K_SPARSE, latents), (K_CHANNELS, x[placed.reads]))
                      if k <= values.shape[1]]  # fmt: skip
    cells = []
    for place, plan in enumerate(plans):
        site, method, _, values, fit = plan
        context.progress(middle + (span[1] - middle) * place / len(plans), f"fitting {method} at {site.label}")
        cells.append(Cell(*plan, predictions(values, given.targets, folds, fit)))
    return cells


def scores_table(
    given: Labelled, folds: Folds, cells: Sequence[Cell], control: Control, tell: Callable[[float, str], None]
) -> pd.DataFrame:
    """Accuracy, selectivity and calibration of every probe."""
    common = majority(given.targets)
    better = np.stack([cell.found.hits.astype(float) - common for cell in cells], axis=1)
    told = discoveries(better, groups=given.groups).found & (better.mean(axis=0) > 0)
    rows = []
    for place, (cell, mark) in enumerate(zip(cells, told, strict=True)):
        tell(place / len(cells), f"control labels, {cell.method} at {cell.site.label}")
        value, low, high = accuracy(cell.found.hits, given.groups)
        own, drawn = control_hits(cell.x, given, control, cell.fit)
        gap, gap_low, gap_high = selectivity(own, drawn, given.groups)
        rows.append({
            **cell.row(), "accuracy": value, "low": low, "high": high, "majority": float(common.mean()),
            "chance": chance(given.targets), "discovered": bool(mark), "shared": float(own.mean()),
            "control": float(drawn.mean()),
            "selectivity": float(gap), "selectivity_low": float(gap_low), "selectivity_high": float(gap_high),
            "ece": ece(cell.found), "log_loss": log_loss(cell.found, given.targets),
        })  # fmt: skip
    return framed("scores", rows)


def accuracy(hits: Any, groups: Sequence[str]) -> tuple[float, float, float]:
    """Share of hits and its interval over groups; Wilson's where every row stands alone."""
    alone = len(set(groups)) == len(groups)
    found = rate_interval(np.sum(hits), len(hits)) if alone else grouped_rate(np.asarray(hits, dtype=float), groups)
    return float(found.value), float(found.low), float(found.high)


def kept_row(given: Labelled, one: PlacedProbe, x: Floats, new: Any) -> dict[str, Any]:
    """The row of a kept probe, on the rows that are `new` to it; it has no control, for it is not fitted here."""
    targets = one.targets(given.items)
    scores, chances = one.probe.scores(x[new]), one.probe.probabilities(x[new])
    best = scores.argmax(axis=1)
    found = Predictions(chances, best, targets[new][np.arange(len(best)), best])
    value, low, high = accuracy(found.hits, [group for group, fine in zip(given.groups, new, strict=True) if fine])
    nothing = dict.fromkeys(("shared", "control", "selectivity", "selectivity_low", "selectivity_high"), np.nan)
    return {
        "site": one.site.kind, "layer": one.site.layer, "method": KEPT, "k": None, "accuracy": value, "low": low,
        "high": high, "majority": float(targets[new].mean(axis=0).max()), "chance": float(targets[new].mean()),
        "discovered": None, **nothing, "ece": ece(found), "log_loss": log_loss(found, targets[new]),
    }  # fmt: skip


def baselines_table(
    model: Model, given: Labelled, folds: Folds, control: Control, spec: ProbesSpec
) -> pd.DataFrame:  # fmt: skip
    """What needs no state of the model: the majority, chance, and the words alone."""
    x = words_alone(model, given.items)
    words = predictions(x, given.targets, folds, partial(fitted, method="logistic", c=spec.c)).hits
    counts = {"rows": len(given.items), "groups": len(set(given.groups)), "classes": len(given.classes),
              "folds": int(folds.max()) + 1, "left_out": given.left_out, "control_of": control.of,
              "recurring": control.recurring}  # fmt: skip
    named = {"majority": accuracy(majority(given.targets), given.groups),
             "chance": (chance(given.targets), np.nan, np.nan),
             "words alone": accuracy(words, given.groups)}  # fmt: skip
    return framed("baselines", [
        {"baseline": name, "accuracy": value, "low": low, "high": high, **counts}
        for name, (value, low, high) in named.items()
    ])  # fmt: skip


def reliability_table(given: Labelled, cells: Sequence[Cell]) -> pd.DataFrame:
    """Every probe's bins."""
    parts = [reliability(cell.found, given.groups).assign(**cell.row()) for cell in cells]
    return framed("reliability", pd.concat(parts, ignore_index=True))
