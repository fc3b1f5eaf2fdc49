"""Graphs to be drawn: the options that all graph pages share, and the pruning that keeps a picture readable.

A graph is two frames. Nodes have `node` (unique id), `kind`, `row` and `column` (indices of the axes' labels; rows grow
upwards), `label` and `value`, and may have `hover` (more lines of it), `named` (whether the picture may write the
label; a hover always has it) and `slot` (place within the column, 0 leftmost; without it the nodes of a cell are spread
side by side). Edges have `source` and `target` (ids) and a signed `weight`; a source lies below its target, or left of
it.

An analysis mixes `GraphView` into its options and hands `drawn(nodes, edges, spec)` to `analyses._plots.graph`, with
`focus=spec.focus`. On its page a click on a node then sets `focus`; `Analysis.detail` tells what lies behind the node,
`Analysis.act` which analysis ablates it.
"""

from analyses._graphs.pruning import drawn
from analyses._graphs.view import GraphView

__all__ = ["GraphView", "drawn"]
