"""Circuit evaluation, held-out pair after held-out pair: every circuit, its complement, and the random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._circuits.kept import Circuit, circuit_of
from analyses._circuits.pairs import LEFT_OUT, digest, halves, pairs_table
from analyses._circuits.scoring import Scoring, score_pairs
from analyses._common import checked_layers, steps
from analyses._contract import Context, Frames, Inputs
from analyses._pairs import ids_of
from analyses.circuit_evaluation.circuits import Masks, masks_of
from analyses.circuit_evaluation.tables import (
    circuits_table,
    curves_table,
    differences_table,
    source_table,
    values_table,
)
from hooks.edges import (
    EdgeGraph,
    Outputs,
    at_every_position,
    circuit_values,
    edge_graph,
    mean_outputs,
    read_outputs,
    written,
    zero_outputs,
)
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair, align

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec
    from hooks.model import Model

SCORED, HELD, BOTH = "scored", "held out", "scored and measured"
_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class _Job:
    """The circuit's scores, which pairs to measure on, each pair's metric; on how many it was scored, given or not."""

    circuit: Circuit
    held: list[int]
    pairs: pd.DataFrame
    metrics: list[Metric]
    scored: int
    here: int


def run(model: Model, inputs: Inputs, spec: EvaluationSpec, context: Context) -> Frames:
    """Measure circuits of every size; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a circuit of another model, a pair that does not align, a metric without a gradient, or no pair to
            measure on whose clean and corrupted runs differ in the metric.
    """
    aligned = [align(model, pair) for pair in inputs.pairs]
    job = _prepared(model, inputs, aligned, spec, context)
    graph = job.circuit.graph
    masks = masks_of(job.circuit, spec)
    mean = _mean(model, graph, aligned) if "mean" in spec.ablations else None
    rows = []
    for place, inner in steps(context, job.held, "held-out pair", first=_SHARE):
        compute = partial(_measured, model, graph, aligned[place], job.metrics[place], masks, mean, spec, inner)
        rows.append(context.part(f"pair {place}", compute).assign(pair=place))
    values = pd.concat(rows, ignore_index=True)
    _refuse_nothing(values)
    return {
        "curves": curves_table(values, masks), "differences": differences_table(values, masks),
        "circuits": circuits_table(masks), "pairs": job.pairs, "values": values_table(values),
        "source": source_table(job.circuit, spec, job.scored, job.here),
    }  # fmt: skip


def _prepared(
    model: Model, inputs: Inputs, aligned: Sequence[AlignedPair], spec: EvaluationSpec, context: Context
) -> _Job:
    """A kept circuit and the pairs it has not seen; or one scored on half of the pairs, and the other half."""
    pairs, metrics = pairs_table(model, aligned, spec.metric, HELD, context)
    usable = [int(place) for place in pairs.index[pairs["use"] != LEFT_OUT]]
    if spec.circuit is not None:
        circuit = circuit_of(context.use("circuit"), model)
        seen = set(circuit.about.get("seen") or ())
        old = [place for place in usable if digest(aligned[place].pair) in seen]
        held = [place for place in usable if place not in old] or usable
        pairs.loc[old, "use"] = BOTH if held == usable else SCORED
        return _Job(circuit, held, pairs, metrics, int(circuit.about.get("pairs") or len(seen)), len(old))
    graph = edge_graph(model.geometry, checked_layers(model, spec.layers))
    first, second = ([usable[i] for i in part] for part in halves(len(usable), spec.draw_seed))
    how = Scoring(spec.method, spec.steps, spec.points)
    scored = score_pairs(model, graph, [aligned[i] for i in first], [metrics[i] for i in first], how, context, _SHARE)
    pairs.loc[first, "use"] = BOTH if first == second else SCORED
    circuit = Circuit(graph, scored.mean, np.zeros(graph.n_edges, dtype=bool), {})
    return _Job(circuit, second, pairs, metrics, len(first), len(first))


def _measured(
    model: Model,
    graph: EdgeGraph,
    pair: AlignedPair,
    metric: Metric,
    masks: Masks,
    mean: Outputs | None,
    spec: EvaluationSpec,
    context: Context,
) -> pd.DataFrame:
    """ablation, circuit (its number in `masks`), value."""
    clean, corrupted = ids_of(model, pair)
    found = []
    for ablation, inner in steps(context, list(dict.fromkeys(spec.ablations)), "ablation"):
        replaced = _replacement(model, graph, clean, corrupted, ablation, mean)
        kept = torch.from_numpy(masks.kept)
        values = circuit_values(model, graph, clean, kept, replaced, metric, progress=inner.progress)
        numbers = values.double().cpu().numpy()
        found.append(pd.DataFrame({"ablation": ablation, "circuit": range(len(numbers)), "value": numbers}))
    return pd.concat(found, ignore_index=True)


def _replacement(
    model: Model, graph: EdgeGraph, clean: Tensor, corrupted: Tensor, ablation: str, mean: Outputs | None
) -> Tensor:
    """[1 pos source d_model] what cut edges carry."""
    if ablation == "resample":
        return written(model, graph, read_outputs(model, graph, corrupted))
    own = read_outputs(model, graph, clean)
    other = zero_outputs(own) if mean is None or ablation == "zero" else at_every_position(mean, own)
    replaced = written(model, graph, other)
    # Attention is parked at the first token, which keeps what it has.
    replaced[:, :1] = written(model, graph, own, slice(1))
    return replaced


def _mean(model: Model, graph: EdgeGraph, aligned: Sequence[AlignedPair]) -> Outputs:
    """Mean outputs over all tokens but the first of all prompts, each different one once."""
    prompts = dict.fromkeys(ids for one in aligned for ids in (one.clean_ids, one.corrupted_ids))
    runs = [read_outputs(model, graph, torch.tensor([ids], device=model.device)) for ids in prompts]
    return mean_outputs([run.each(lambda one: one[:, 1:]) for run in runs if run.embed.shape[1] > 1])


def _refuse_nothing(values: pd.DataFrame) -> None:
    """Where cutting every edge changes the mean metric by nothing, no share of that change exists."""
    ends = values[values["circuit"] < 2].pivot_table(index=["ablation", "pair"], columns="circuit", values="value")
    for ablation, part in ends.groupby("ablation"):
        if abs(float((part[0] - part[1]).mean())) < 1e-3:
            raise InputError(
                f"ablation {ablation}: with every edge cut the metric is what it is with none ({part[0].mean():.4g}): "
                "there is no effect to take shares of"
            )
