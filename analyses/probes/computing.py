"""A run of probes: read, fit, test, choose, keep, apply."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._contract import Context, Frames, Inputs
from analyses._stats import Bools, Floats, grouped_folds
from analyses.probes.applying import NOTHING, PROBE, effects
from analyses.probes.choosing import chosen_cell, dictionary_of
from analyses.probes.fitting import K_SPARSE, fitted, k_sparse
from analyses.probes.kept import KIND, Placed, class_of, contents, of_artifact, placed
from analyses.probes.reading import Labelled, labelled, vectors
from analyses.probes.scoring import Folds, control_of, folds_of, predictions
from analyses.probes.study import (
    Cell,
    all_cells,
    baselines_table,
    kept_row,
    reliability_table,
    scores_table,
)
from analyses.probes.tables import (
    applied_table,
    confusion,
    drawn_refit_row,
    framed,
    items_table,
    latents_table,
    refit_row,
)
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec
    from hooks.model import Model


def probe_all(model: Model, inputs: Inputs, spec: ProbesSpec, context: Context) -> Frames:
    """All frames; see `analyses.probes.run`."""
    holder = dictionary_of(model, spec, context)
    kept = None if spec.probe is None else of_artifact(context.use("probe"), model)
    given = labelled(model, inputs, spec, context, 0.2)
    toward = class_of(spec.toward, given.classes)
    folds = folds_of(given, spec.folds, spec.draw_seed)
    cells = all_cells(model, given, folds, holder, spec, context, (0.2, 0.45))
    chosen = chosen_cell(cells, spec)
    control = control_of(given, spec.control_type, int(folds.max()) + 1, spec.control_draws, spec.draw_seed)
    scores = scores_table(given, folds, cells, control, lambda done, said: context.progress(0.45 + 0.1 * done, said))
    test, one = folds < _held(folds), kept
    if kept is not None:
        test = _new(given, kept, spec)
        x = vectors(model, given.items, [kept.site], kept.position, context, (0.55, 0.58))[0][kept.site]
        scores = pd.concat([scores, framed("scores", [kept_row(given, kept, x, test)])], ignore_index=True)
    elif spec.edits:
        one = _placed(chosen, given, ~test, spec, toward)
    edits, applied = pd.DataFrame(), pd.DataFrame()
    if one is not None and spec.edits:
        edits, applied = _applied(model, given, one, chosen, test, spec, context)
    if spec.keep_as is not None:
        everything = _placed(chosen, given, np.ones(len(folds), dtype=bool), spec, toward)
        told = {"accuracy": float(chosen.found.hits.mean()), "target": given.target, "rows": len(folds)}
        context.keep(spec.keep_as, KIND, *contents(model, everything, told))
    return {
        "scores": scores, "baselines": baselines_table(model, given, folds, control, spec),
        "reliability": reliability_table(given, cells), "confusion": confusion(given, chosen.found),
        "items": items_table(given, folds, chosen.found), "latents": _latents(given, cells, folds),
        "edits": framed("edits", edits), "applied": framed("applied", applied),
        "about": _about(given, chosen, one, toward, spec),
    }  # fmt: skip


def _about(given: Labelled, chosen: Cell, one: Placed | None, toward: int, spec: ProbesSpec) -> pd.DataFrame:
    """The one row that says which probe is shown, and which is applied."""
    pointing = given.classes[toward] if one is None else one.classes[one.toward]
    applied = "" if one is None else f"{one.method} of {one.site.label}"
    return framed("about", [{
        **chosen.row(), "position": spec.position, "target": given.target, "class": pointing,
        "source": spec.probe or "fitted here", "applied": applied, "kept_as": spec.keep_as or "",
    }])  # fmt: skip


def _new(given: Labelled, kept: Placed, spec: ProbesSpec) -> Bools:
    """[row] of groups that a kept probe was not fitted on, of classes that it knows. Raises InputError for none."""
    new = np.array([not kept.knows(item) for item in given.items])
    new &= np.array([any(name in kept.classes for name in item.classes) for item in given.items])
    if not new.any():
        raise InputError(
            f"probe {spec.probe!r} knows the classes {', '.join(kept.classes)} and was fitted on {len(kept.trained)} "
            "texts: none of these texts is of a group that is new to it and of one of its classes; give others"
        )
    return new


def _placed(cell: Cell, given: Labelled, rows: Bools, spec: ProbesSpec, toward: int) -> Placed:
    if cell.method == K_SPARSE:
        raise InputError("a k-sparse probe reads latents: its direction is theirs; apply it by feature_steering")
    probe = cell.fit(cell.x[rows], given.targets[rows])
    return placed(probe, cell.x, given, rows, cell.site, spec.position, toward, cell.method)


def _held(folds: Folds) -> int:
    """How many of the first folds are held out from a probe that is applied: half, one at least."""
    return max(1, (int(folds.max()) + 1) // 2)


def _applied(
    model: Model, given: Labelled, one: Placed, cell: Cell, test: Bools, spec: ProbesSpec, context: Context
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(edits, applied), on rows that the probe was not fitted on."""
    some = np.flatnonzero(test)[: spec.applied_texts]
    items = [given.items[row] for row in some]
    edits = effects(model, one, items, one.targets(items), spec, context, (0.6, 0.98))
    again = _refitted(given, one, cell, test, spec) if "ablate" in spec.edits and spec.probe is None else []
    return edits, applied_table(edits, again)


def _refitted(given: Labelled, one: Placed, cell: Cell, test: Bools, spec: ProbesSpec) -> list[dict[str, Any]]:
    """New probes of what ablation leaves, fitted and tested on held-out rows alone.

    Rows that the ablated subspace was fitted on have lost more than it takes from others: it was fitted to their noise.
    """
    groups, targets = [given.items[row].group for row in np.flatnonzero(test)], given.targets[test]
    if len(set(groups)) < 2:
        return []
    folds = grouped_folds(groups, min(spec.folds, len(set(groups))), seed=spec.draw_seed)
    basis, x = one.probe.subspace(), cell.x[test]
    drawn = np.random.default_rng(spec.draw_seed).standard_normal((spec.random_draws, basis.shape[1], len(basis)))

    def without(away: Floats) -> Bools:
        left = x - (x - one.centre) @ away.T @ away
        return predictions(left, targets, folds, partial(fitted, method="logistic", c=spec.c)).hits

    return [
        refit_row(NOTHING, NOTHING, without(basis[:0]), groups),
        refit_row("ablate", PROBE, without(basis), groups),
        drawn_refit_row([float(without(np.linalg.qr(one)[0].T).mean()) for one in drawn], len(groups)),
    ]


def _latents(given: Labelled, cells: list[Cell], folds: Folds) -> pd.DataFrame:
    sparse = [cell for cell in cells if cell.method == K_SPARSE]
    if not sparse:
        return framed("latents", [])
    most = max(sparse, key=lambda cell: cell.k or 0)
    probe = k_sparse(most.x, given.targets, most.k or 1, 1.0)
    return latents_table(given, most.x, folds, probe, most.k or 1)
