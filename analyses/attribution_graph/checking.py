"""The strongest nodes are taken away in the model: what the graph said, and what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from analyses._contract import Frames
from analyses.attribution_graph.tables import short
from data.graph_files import GraphFile
from hooks.replacement import Graph, LocalModel, Pruned, measured, predicted

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec

TARGETS = 4
"""Strongest targets of each node that are looked at, besides the likeliest logit."""


def checked(
    local: LocalModel, full: Graph, pruned: Pruned, graph: GraphFile, frames: Frames, spec: AttributionGraphSpec,
    progress: Callable[[float, str], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of the frame: one a node taken away and target looked at."""
    chosen = _chosen(graph, frames, spec)
    if not chosen:
        return []
    row_of = {int(node): row for row, node in enumerate(full.targets)}
    top = row_of[full.n_nodes - len(full.logits)]
    wanted: list[tuple[int, int, int]] = []
    for place in chosen:
        node = int(pruned.nodes[place])
        out = [(abs(weight), target) for source, target, weight in graph.links if source == place]
        near = [target for _, target in sorted(out, reverse=True)[:TARGETS]]
        read = [row_of[int(pruned.nodes[target])] for target in near]
        wanted += [(place, node, row) for row in dict.fromkeys([top, *read])]
    nodes = [int(pruned.nodes[place]) for place in chosen]
    rows = torch.tensor(sorted({row for _, _, row in wanted}))
    direct, total = (one[:, rows] for one in predicted(full, torch.tensor(nodes)))
    found = {}
    for number, how in enumerate(("held", "responding", "free")):
        progress(number / 3, f"ablating {len(nodes)} nodes, {how}")
        found[how] = measured(local, full, nodes, rows, how)  # type: ignore[arg-type]
    column = {int(row): at for at, row in enumerate(rows)}
    by_node = {node: place for place, node in enumerate(pruned.nodes.tolist())}
    table = []
    for place, node, row in wanted:
        at = nodes.index(node), column[row]
        target = graph.nodes[by_node[int(full.targets[row])]]
        table.append({
            "source": graph.nodes[place].id, "source_label": short(graph, graph.nodes[place]), "target": target.id,
            "target_label": short(graph, target), "target_kind": target.kind, "direct": float(direct[at]),
            "held": float(found["held"][at]), "total": float(total[at]), "responding": float(found["responding"][at]),
            "free": float(found["free"][at]), "before": float(full.values[row]),
        })  # fmt: skip
    return table


def _chosen(graph: GraphFile, frames: Frames, spec: AttributionGraphSpec) -> list[int]:
    """Places of the named nodes, then what lies on the strongest path of each kind of start, then the latents with
    most influence."""
    most = spec.check_interventions
    nodes, paths = frames["nodes"], frames["paths"]
    latents = nodes[nodes["kind"] == "feature"].sort_values("influence", ascending=False, kind="stable")
    along = [node for route in paths[paths["path"] == 1]["nodes"] for node in route.split()[:-1]]
    chosen = list(dict.fromkeys([*along, *latents["node"].head(most)]))[:most]
    return [graph.places[one] for one in dict.fromkeys([*spec.ablate, *chosen])]
