"""Scores of every edge over a set of pairs: pairs of one length share their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._common import steps
from analyses._contract import Context
from analyses._pairs import ids_of
from analyses._stats import Bools, Floats
from hooks.attribution import Points
from hooks.edges import (
    METHODS,
    EdgeGraph,
    acdc,
    by_row,
    circuit_values,
    edge_scores,
    exact_scores,
    read_outputs,
    written,
)
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair

if TYPE_CHECKING:
    from hooks.model import Model

AnyMethod = Literal["eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted", "exact", "acdc"]
WORDS: dict[str, str] = {
    "eap": "EAP",
    "eap_ig_inputs": "EAP-IG (inputs)",
    "eap_ig_activations": "EAP-IG (activations)",
    "clean_corrupted": "clean–corrupted",
    "exact": "exact patching",
    "acdc": "ACDC",
}
TOGETHER = 8
"""Pairs of one length that share a forward."""


@dataclass(frozen=True)
class Scoring:
    """How edges are scored: a method, the points of integrated gradients, ACDC's threshold, the budget of edges."""

    method: AnyMethod = "eap_ig_inputs"
    steps: int = 5
    points: Points = "far_end"
    threshold: float = 0.05
    edge_budget: int = 5000

    def refuse_many(self, graph: EdgeGraph) -> None:
        """Raise InputError where a method that runs edge by edge would take more edges than allowed."""
        if self.method in ("exact", "acdc") and graph.n_edges > self.edge_budget:
            raise InputError(
                f"{WORDS[self.method]} runs edges one by one and this graph has {graph.n_edges:,}; edge_budget allows "
                f"{self.edge_budget:,}: restrict layers, raise edge_budget, or score by gradients (eap_ig_inputs)"
            )


@dataclass(frozen=True, eq=False)
class Scored:
    """`scores` [pair edge], or [1 edge] over all pairs for ACDC, whose circuit is `kept` [edge]."""

    scores: Floats
    kept: Bools | None = None

    @property
    def mean(self) -> Floats:
        """[edge] over pairs; 0 for edges that ACDC dropped with their nodes."""
        return np.nan_to_num(self.scores.mean(axis=0))


def score_pairs(
    model: Model,
    graph: EdgeGraph,
    aligned: Sequence[AlignedPair],
    metrics: Sequence[Metric],
    how: Scoring,
    context: Context,
    last: float = 1.0,
) -> Scored:
    """Score every edge for every pair.

    Args:
        metrics: one a pair, a goodness.
        last: where the progress ends.

    Raises:
        InputError: more edges than the budget allows, and what `edge_scores` raises.
    """
    how.refuse_many(graph)
    if how.method == "acdc":
        return _acdc(model, graph, aligned, metrics, how, context, last)
    if how.method == "exact":
        return Scored(_exact(model, graph, aligned, metrics, context, last))
    assert how.method in METHODS
    found = np.zeros((len(aligned), graph.n_edges))
    for places, inner in steps(context, batches(aligned), "pairs", last=last):
        clean, corrupted = (torch.cat(side) for side in zip(*(ids_of(model, aligned[p]) for p in places), strict=True))
        scored = edge_scores(
            model, graph, clean, corrupted, by_row([metrics[p] for p in places]), how.method, steps=how.steps,
            points=how.points, progress=inner.progress,
        )  # fmt: skip
        found[places] = scored.scores.double().cpu().numpy()
    return Scored(found)


def batches(aligned: Sequence[AlignedPair]) -> list[list[int]]:
    """Numbers of pairs of one length, at most TOGETHER of them together."""
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(aligned):
        by_length.setdefault(len(one.clean_ids), []).append(place)
    return [places[i : i + TOGETHER] for places in by_length.values() for i in range(0, len(places), TOGETHER)]


def _exact(
    model: Model, graph: EdgeGraph, aligned: Sequence[AlignedPair], metrics: Sequence[Metric], context: Context,
    last: float,
) -> Floats:  # fmt: skip
    found = []
    for place, inner in steps(context, range(len(aligned)), "pair", last=last):
        compute = partial(_exact_frame, model, graph, aligned[place], metrics[place], inner)
        found.append(context.part(f"edges of pair {place}", compute)["score"].to_numpy(dtype=np.float64))
    return np.stack(found)


def _exact_frame(model: Model, graph: EdgeGraph, pair: AlignedPair, metric: Metric, context: Context) -> pd.DataFrame:
    scores = exact_scores(model, graph, *ids_of(model, pair), metric, context.progress)
    return pd.DataFrame({"score": scores.double().numpy()})


def _acdc(
    model: Model, graph: EdgeGraph, aligned: Sequence[AlignedPair], metrics: Sequence[Metric], how: Scoring,
    context: Context, last: float,
) -> Scored:  # fmt: skip
    replaced = [written(model, graph, read_outputs(model, graph, ids_of(model, one)[1])) for one in aligned]

    def evaluate(kept: Tensor) -> Tensor:
        values = [
            circuit_values(model, graph, ids_of(model, one)[0], kept, outputs, metric).double()
            for one, outputs, metric in zip(aligned, replaced, metrics, strict=True)
        ]
        return torch.stack(values).mean(dim=0)

    found = acdc(graph, evaluate, how.threshold, progress=lambda part, words: context.progress(last * part, words))
    return Scored(-found.losses.double().numpy()[None], found.kept.numpy())
