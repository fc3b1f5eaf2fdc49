"""Edge attribution over pairs: scores, the circuit they make, and what that circuit alone does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses._circuits.kept import KIND, Circuit, contents
from analyses._circuits.pairs import LEFT_OUT, digest, pairs_table
from analyses._circuits.scoring import Scored, score_pairs
from analyses._circuits.selection import prune, select
from analyses._common import checked_layers
from analyses._contract import Context, Frames, Inputs
from analyses._pairs import ids_of
from analyses._stats import Bools, Floats
from analyses.edge_attribution.positions import NAME, nothing, positions_table
from analyses.edge_attribution.tables import circuit_table, edges_table, nodes_table
from hooks.edges import UNITS, EdgeGraph, circuit_values, edge_graph, read_outputs, written
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair, align

if TYPE_CHECKING:
    from analyses.edge_attribution import EdgeAttributionSpec
    from hooks.model import Model

SCORED = "scored"
_SHARE, _ALONE = 0.9, 0.5
"""Where the progress of scoring ends, and where that of scoring by position, if asked for, begins."""


def run(model: Model, inputs: Inputs, spec: EdgeAttributionSpec, context: Context) -> Frames:
    """Score every edge for every pair and choose a circuit; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a pair that does not align, a layer that is not there, more edges than the budget allows, a metric
            without a gradient, no pair whose clean and corrupted runs differ in the metric, or a threshold that no
            edge reaches.
    """
    aligned = [align(model, pair) for pair in inputs.pairs]
    graph = edge_graph(model.geometry, checked_layers(model, spec.layers))
    pairs, metrics = pairs_table(model, aligned, spec.metric, SCORED, context)
    used = [int(place) for place in pairs.index[pairs["use"] != LEFT_OUT]]
    chosen, read = [aligned[place] for place in used], [metrics[place] for place in used]
    share = _SHARE / 2 if spec.by_position else _SHARE
    scored = score_pairs(model, graph, chosen, read, spec.scoring, context, share)
    kept = circuit_from(graph, scored, spec)
    context.progress(share, "running the circuit alone")
    alone = _alone(model, graph, kept, chosen, read)
    by_pair = scored.scores if scored.kept is None else None
    about = about_of(spec, inputs, chosen) | {"preferred": int((pairs["logit_diff"][used] > 0).sum())}
    circuit = Circuit(graph, scored.mean, kept, about, by_pair)
    if spec.keep_as is not None:
        context.keep(spec.keep_as, KIND, *contents(model, circuit))
    unit, apart = UNITS[spec.metric], nothing()
    if spec.by_position:
        apart = positions_table(model, graph, chosen, read, spec.scoring, scored, context, (_ALONE, 1.0))
    return {
        "edges": edges_table(graph, scored, kept, spec.listed),
        "nodes": nodes_table(graph, scored, kept),
        "circuit": circuit_table(circuit, alone, spec, unit),
        "pairs": pairs,
        NAME: apart,
    }


def circuit_from(graph: EdgeGraph, scored: Scored, spec: EdgeAttributionSpec) -> Bools:
    """[edge] the circuit: ACDC's own, pruned, or what the rule selects from the mean scores.

    Raises:
        InputError: a threshold that no edge reaches.
    """
    largest, unit = float(np.abs(scored.mean).max()), UNITS[spec.metric]
    if scored.kept is not None:
        if not scored.kept.any():
            raise InputError(
                f"ACDC with threshold {spec.threshold:g} cuts every edge; the costliest cut costs {largest:.3g} {unit} "
                "(mean over pairs): use a smaller threshold"
            )
        return prune(graph, scored.kept)
    if spec.selection == "threshold" and largest < spec.threshold:
        raise InputError(
            f"no edge reaches the threshold {spec.threshold:g}: the largest score is {largest:.3g} {unit} in size "
            "(mean over pairs); use a smaller threshold, or selection top_n"
        )
    return select(graph, scored.mean, spec.selection, size=spec.size, threshold=spec.threshold)


def about_of(spec: EdgeAttributionSpec, inputs: Inputs, pairs: Sequence[AlignedPair]) -> dict[str, Any]:
    """What a kept circuit says of itself."""
    return {
        "method": spec.method, "metric": spec.metric, "unit": UNITS[spec.metric],
        "task": inputs.set_name or "own pairs", "steps": spec.steps, "points": spec.points,
        "selection": spec.selection, "size": spec.size, "threshold": spec.threshold,
        "pairs": len(pairs), "seen": [digest(one.pair) for one in pairs],
    }  # fmt: skip


def _alone(
    model: Model, graph: EdgeGraph, kept: Bools, pairs: Sequence[AlignedPair], metrics: Sequence[Metric]
) -> pd.DataFrame:
    """full, empty, circuit [pair]: the metric with every edge, with none, and with the circuit's."""
    masks = torch.from_numpy(np.stack([np.ones_like(kept), np.zeros_like(kept), kept]))
    rows: list[Floats] = []
    for pair, metric in zip(pairs, metrics, strict=True):
        clean, corrupted = ids_of(model, pair)
        outputs = written(model, graph, read_outputs(model, graph, corrupted))
        rows.append(circuit_values(model, graph, clean, masks, outputs, metric).double().cpu().numpy())
    return pd.DataFrame(np.stack(rows), columns=["full", "empty", "circuit"])
