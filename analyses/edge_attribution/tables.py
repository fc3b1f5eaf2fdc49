"""Edge attribution's tables: the strongest edges and the circuit's, every node's total, and the circuit in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._circuits.drawing import fed_names
from analyses._circuits.kept import Circuit
from analyses._circuits.pairs import PAIRS
from analyses._circuits.scoring import Scored
from analyses._circuits.selection import ends, nodes_of
from analyses._common import FOUND, interval
from analyses._contract import Column
from analyses._patching_table import ROUNDING
from analyses._stats import Bools, Floats, discoveries, mean_interval, ratio_interval
from analyses.edge_attribution import positions
from hooks.edges import EdgeGraph

if TYPE_CHECKING:
    from analyses.edge_attribution import EdgeAttributionSpec


def edges_table(graph: EdgeGraph, scored: Scored, kept: Bools, listed: int) -> pd.DataFrame:
    """The frame that `EDGES` declares: the `listed` strongest edges and those of the circuit, strongest first."""
    mean = scored.mean
    order = np.argsort(-np.abs(mean), kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(1, len(order) + 1)
    rows = order[(rank[order] <= listed) | kept[order]]
    source, place = ends(graph)
    inputs = [one.name for one in graph.inputs]
    feeds = fed_names(graph.nodes, graph.feeds, nodes_of(graph, kept))
    return pd.DataFrame({
        "edge": [graph.edge_names[row] for row in rows], "source": [graph.nodes[source[row]] for row in rows],
        "input": [inputs[place[row]] for row in rows], "feeds": [feeds[place[row]] for row in rows],
        "rank": rank[rows], **_over_pairs(scored.scores, mean, rows), "kept": kept[rows],
    })  # fmt: skip


def nodes_table(graph: EdgeGraph, scored: Scored, kept: Bools) -> pd.DataFrame:
    """The frame that `NODES` declares: sources in order of computation, then the logits."""
    source, place = ends(graph)
    # Edges are sorted by input, so sums by source are a product with an indicator.
    leaving = np.zeros((len(scored.scores), len(graph.nodes)))
    for row, scores in enumerate(np.nan_to_num(scored.scores)):
        leaving[row, :-1] = np.bincount(source, weights=scores, minlength=len(graph.sources))
    entering, fed = np.zeros(len(graph.nodes), dtype=int), np.bincount(place[kept], minlength=len(graph.inputs))
    inside = nodes_of(graph, kept)
    for number, owners in enumerate(graph.feeds):
        entering[list(owners)] += fed[number]
    kinds = [*(one.kind for one in graph.sources), "logits"]
    numbers = _over_pairs(leaving, leaving.mean(axis=0), np.arange(len(graph.nodes)))
    frame = pd.DataFrame({
        "node": graph.nodes, "kind": kinds,
        "layer": pd.array([*(one.layer for one in graph.sources), None], dtype="Int64"),
        "head": pd.array([*(one.head for one in graph.sources), None], dtype="Int64"),
        **numbers, "edges_in": np.where(inside, entering, 0),
        "edges_out": np.bincount(source[kept], minlength=len(graph.nodes)), "kept": inside,
    })  # fmt: skip
    # Nothing leaves the logits.
    frame.loc[frame["kind"] == "logits", ["mean", "low", "high"]] = np.nan
    return frame


def circuit_table(circuit: Circuit, alone: pd.DataFrame, spec: EdgeAttributionSpec, unit: str) -> pd.DataFrame:
    """The frame that `CIRCUIT` declares, one row."""
    full, empty, mine = (alone[name].to_numpy() for name in ("full", "empty", "circuit"))
    share = ratio_interval(mine - empty, full - empty)
    inside = nodes_of(circuit.graph, circuit.kept)
    chosen = {"selection": "acdc" if spec.method == "acdc" else spec.selection, "size": spec.size}
    return pd.DataFrame([{
        "method": spec.method, "metric": spec.metric, "unit": unit, **chosen, "threshold": spec.threshold,
        "edges": circuit.graph.n_edges, "kept": int(circuit.kept.sum()),
        "nodes": int(inside.sum()), "sum": float(circuit.scores.sum()), "full": float(full.mean()),
        "empty": float(empty.mean()), "circuit": float(mine.mean()), "faithfulness": float(share.value),
        "low": float(share.low), "high": float(share.high), "prompts": len(alone),
    }])  # fmt: skip


def _over_pairs(values: Floats, mean: Floats, rows: np.ndarray) -> dict[str, Floats | Bools | int]:
    """mean, low, high, discovered, prompts of `rows` of values [pair column]; no interval where ACDC left gaps."""
    if len(values) > 1 and np.isfinite(values).all():
        # The rows were chosen by their size: the false discovery rate is over all that they were chosen from.
        found = discoveries(np.where(np.abs(values) < ROUNDING, 0.0, values)).found[rows]
        low, high = mean_interval(values[:, rows])[1:]
    else:
        found, low, high = np.zeros(len(rows), dtype=bool), np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    return {"mean": mean[rows], "low": low, "high": high, "discovered": found, "prompts": len(values)}


_CHANGE = "score: estimated change of the metric when the edge alone is corrupted; mean over pairs"
_SCORE = (*interval("metric", _CHANGE), *FOUND)
_TOTAL = (*interval("metric", "sum of the scores of all edges that leave the node; mean over pairs"), *FOUND)
EDGES = (
    Column("edge", "", "name, L5H5->L9H6.q"),
    Column("source", "", "node that the edge leaves"),
    Column("input", "", "what it enters: a query (L9H6.q), a group's key or value (L9G2.k), an MLP, the logits"),
    Column("feeds", "", "nodes that the input belongs to; those in the circuit where some are"),
    Column("rank", "", "place among all edges by size of the mean score, from 1"),
    *_SCORE,
    Column("kept", "", "whether it is in the circuit"),
)
NODES = (
    Column("node", "", "embed, L9H6, MLP9 or logits"),
    Column("kind", "", "embed, head, mlp or logits"),
    Column("layer", "", "its layer; missing for the embedding and the logits"),
    Column("head", "", "its query head; missing for others"),
    *_TOTAL,
    Column("edges_in", "count", "edges of the circuit that enter it; one into a group's key or value enters each head"),
    Column("edges_out", "count", "edges of the circuit that leave it"),
    Column("kept", "", "whether it is in the circuit"),
)
CIRCUIT = (
    Column("method", "", "how edges were scored"),
    Column("metric", "", "what they are worth, a goodness"),
    Column("unit", "", "the metric's unit"),
    Column("selection", "", "top_n, threshold or greedy; acdc: its own"),
    Column("size", "count", "edges asked for"),
    Column("threshold", "metric", "of selection by threshold, or ACDC's τ"),
    Column("edges", "count", "edges of the graph"),
    Column("kept", "count", "edges of the circuit, after pruning"),
    Column("nodes", "count", "nodes of the circuit"),
    Column("sum", "metric", "sum of all edges' mean scores"),
    Column("full", "metric", "mean metric with every edge: the clean run"),
    Column("empty", "metric", "with every edge corrupted"),
    Column("circuit", "metric", "with every edge outside the circuit corrupted"),
    Column("faithfulness", "fraction", "(circuit − empty)/(full − empty) of the means, on the pairs scored"),
    Column("low", "fraction", "lower end of its 95% interval over pairs; missing for one pair"),
    Column("high", "fraction", "upper end"),
    FOUND[1],
)
COLUMNS = {"edges": EDGES, "nodes": NODES, "circuit": CIRCUIT, "pairs": PAIRS, positions.NAME: positions.COLUMNS}
