"""Edges between components: their scores by gradients, by patching and by ACDC, and runs with some of them cut."""

from hooks.edges.acdc import Acdc, acdc
from hooks.edges.exact import exact_by_definition, exact_scores
from hooks.edges.graph import EMBED, LOGITS, EdgeGraph, Input, Source, edge_graph
from hooks.edges.outputs import Outputs, at_every_position, mean_outputs, read_outputs, written, zero_outputs
from hooks.edges.reading import METRICS, UNITS, Closeness, MetricName, by_row, goodness
from hooks.edges.running import circuit_values, run_edges
from hooks.edges.scores import METHODS, EdgeScores, Method, edge_scores

__all__ = [
    "EMBED",
    "LOGITS",
    "METHODS",
    "METRICS",
    "UNITS",
    "Acdc",
    "Closeness",
    "EdgeGraph",
    "EdgeScores",
    "Input",
    "Method",
    "MetricName",
    "Outputs",
    "Source",
    "acdc",
    "at_every_position",
    "by_row",
    "circuit_values",
    "edge_graph",
    "edge_scores",
    "exact_by_definition",
    "exact_scores",
    "goodness",
    "mean_outputs",
    "read_outputs",
    "run_edges",
    "written",
    "zero_outputs",
]
