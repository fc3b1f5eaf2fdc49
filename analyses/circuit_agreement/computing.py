"""Circuit agreement over pairs: the truth by ablation, every method's scores, and how they agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._circuits.drawing import fed_names
from analyses._circuits.pairs import LEFT_OUT, pairs_table
from analyses._circuits.scoring import AnyMethod, Scoring, score_pairs
from analyses._circuits.selection import ends
from analyses._common import checked_layers, steps
from analyses._contract import Context, Frames, Inputs
from analyses._stats import Floats
from analyses.circuit_agreement.imported import of_graph
from analyses.circuit_agreement.ranking import agreement_rows, prediction_rows
from analyses.circuit_agreement.scoring import BY_EDGES, GRAPH, TRUTH, Nodes, by_nodes, score
from analyses.circuit_agreement.tables import (
    AGREEMENT,
    EDGES,
    PREDICTION,
    about_table,
    disagreements_table,
    nodes_table,
    values_table,
    with_commands,
)
from hooks.edges import UNITS, EdgeGraph, edge_graph
from hooks.metrics import Metric
from hooks.pairs import AlignedPair, align

if TYPE_CHECKING:
    from analyses.circuit_agreement import CircuitAgreementSpec
    from hooks.model import Model

COMPARED = "compared"
NO_EDGES = "none"
MOST_EDGES = 2000
"""Edges kept for the picture."""
SPANS = {TRUTH: (0.2, 0.6), "patching": (0.6, 0.95)}
"""Where the progress of what takes long lies in the whole; edges come first, what is quick last."""
_BY_EDGES: dict[str, tuple[AnyMethod, tuple[str, ...]]] = {
    "eap": ("eap", ("eap",)),
    "eap_ig": ("eap_ig_inputs", ("eap_ig", "edge_sizes")),
}
"""By how edges are scored: its name there, and the methods that sum these scores."""


def run(model: Model, inputs: Inputs, spec: CircuitAgreementSpec, context: Context) -> Frames:
    """Score every node by every method; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a pair that does not align, a layer that is not there, no pair whose clean and corrupted runs differ
            in the metric, or a graph of another prompt or model.
    """
    aligned = [align(model, pair) for pair in inputs.pairs]
    nodes = Nodes(tuple(checked_layers(model, spec.layers)), model.geometry.n_heads)
    pairs, metrics = pairs_table(model, aligned, spec.metric, COMPARED, context)
    used = [int(place) for place in pairs.index[pairs["use"] != LEFT_OUT]]
    job = _Job(model, [aligned[place] for place in used], [metrics[place] for place in used], nodes, spec, context)
    # A graph that does not fit is refused before anything is run.
    imported = job.imported()
    summed, edges = job.summed()
    found = {TRUTH: job.singly(TRUTH)}
    for method in dict.fromkeys(spec.methods):
        found[method] = summed[method] if method in BY_EDGES else job.singly(method)
    return _frames(job, found | imported, edges) | {
        "pairs": pairs,
        "values": values_table(nodes.frame, found | imported, used),
    }


class _Job:
    """The pairs that are compared, and how."""

    def __init__(
        self, model: Model, pairs: Sequence[AlignedPair], metrics: Sequence[Metric], nodes: Nodes,
        spec: CircuitAgreementSpec, context: Context,
    ) -> None:  # fmt: skip
        self.model, self.pairs, self.metrics, self.nodes = model, pairs, metrics, nodes
        self.spec, self.context, self.graph = spec, context, edge_graph(model.geometry)

    def imported(self) -> dict[str, Floats]:
        """The imported graph's scores [pair node], where there is one."""
        if self.spec.graph is None:
            return {}
        layers, errors = self.model.geometry.n_layers, self.spec.graph_errors
        mine, numbers = of_graph(self.context.use("graph"), self.pairs, layers, self.nodes, errors=errors)
        whole = np.full((len(self.pairs), len(numbers)), np.nan)
        whole[mine] = numbers
        return {GRAPH: whole}

    def summed(self) -> tuple[dict[str, Floats], Floats | None]:
        """By method [pair node] sums over what leaves a node, and the last method's mean scores [edge] to be drawn."""
        source, names = ends(self.graph)[0], self.nodes.frame["node"].tolist()
        total = partial(by_nodes, sources=self.graph.nodes[:-1], source=source, names=names)
        found: dict[str, Floats] = {}
        edges = None
        for (how, wanted), last in zip(_BY_EDGES.values(), (SPANS[TRUTH][0] / 4, SPANS[TRUTH][0]), strict=True):
            if set(wanted) & set(self.spec.methods):
                scoring = Scoring(how, self.spec.steps)
                scored = score_pairs(self.model, self.graph, self.pairs, self.metrics, scoring, self.context, last)
                edges = scored.scores.mean(axis=0)
                for method in wanted:
                    sized = np.abs(scored.scores) if method == "edge_sizes" else scored.scores
                    found[method] = np.stack([total(row) for row in sized])
        return found, edges

    def singly(self, method: str) -> Floats:
        """[pair node], a pair at a time; a pair's scores are kept when a run is interrupted."""
        first, last = SPANS.get(method, (SPANS["patching"][1], 1.0))
        found = []
        words = f"{method} of pair"
        for place, inner in steps(self.context, range(len(self.pairs)), words, first=first, last=last):
            compute = partial(self._frame, place, method, inner)
            found.append(self.context.part(f"{words} {place}", compute)["score"].to_numpy(dtype=np.float64))
        return np.stack(found)

    def _frame(self, place: int, method: str, inner: Context) -> pd.DataFrame:
        threshold = self.spec.flow_threshold
        pair, metric = self.pairs[place], self.metrics[place]
        return pd.DataFrame({"score": score(self.model, pair, metric, method, self.nodes, threshold, inner.progress)})


def _frames(job: _Job, found: dict[str, Floats], edges: Floats | None) -> Frames:
    spec, nodes = job.spec, job.nodes.frame
    wrong = disagreements_table(nodes, found, spec.top, spec.listed)
    how = [name for name, (_, wanted) in _BY_EDGES.items() if set(wanted) & set(spec.methods)]
    return {
        "nodes": nodes_table(nodes, found),
        "agreement": pd.DataFrame(agreement_rows(found))[[column.name for column in AGREEMENT]],
        "prediction": pd.DataFrame(prediction_rows(found, spec.top))[[column.name for column in PREDICTION]],
        "disagreements": with_commands(wrong, spec.metric),
        "edges": _edges_between(job.graph, edges, set(wrong["node"])),
        "about": about_table(spec, UNITS[spec.metric], how[-1] if how else NO_EDGES),
    }


def _edges_between(graph: EdgeGraph, scores: Floats | None, names: set[str]) -> pd.DataFrame:
    """The frame that `EDGES` declares: the strongest edges among these nodes, the embedding and the logits."""
    columns = [column.name for column in EDGES]
    if scores is None:
        return pd.DataFrame(columns=columns).astype({"score": "float64"})
    outer = (graph.nodes[0], graph.nodes[-1])
    inside = np.array([node in names or node in outer for node in graph.nodes])
    source, place = ends(graph)
    fed = np.array([inside[list(owners)].any() for owners in graph.feeds])
    rows = np.flatnonzero(inside[source] & fed[place])
    rows = rows[np.argsort(-np.abs(scores[rows]), kind="stable")[:MOST_EDGES]]
    feeds = fed_names(graph.nodes, graph.feeds, inside)
    return pd.DataFrame({
        "source": [graph.nodes[source[row]] for row in rows], "input": [graph.inputs[place[row]].name for row in rows],
        "feeds": [feeds[place[row]] for row in rows], "score": scores[rows],
    })[columns]  # fmt: skip
