"""Labels and groups of nodes, written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from data.graph_files import GraphFile, GraphNode
from hooks.errors import InputError, unknown

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec

NODE = re.compile(r"(?:E|\d+)_-?\d+(?:_\d+)?")


def check_marks(spec: AttributionGraphSpec) -> None:
    """Raise InputError for labels and groups that cannot be read."""
    _labels(spec.label)
    _groups(spec.supernode)
    for node in spec.ablate:
        if not NODE.fullmatch(node):
            raise InputError(f"ablate {node!r} cannot be read: write the id of a node, as 4_77_5 or E_464_0")


def marked(graph: GraphFile, spec: AttributionGraphSpec) -> GraphFile:
    """With the labels and groups of the options over its own. Raises InputError for nodes that it does not have."""
    labels, groups = _labels(spec.label), dict(_groups(spec.supernode))
    latents = {_latent(node) for node in graph.nodes}
    for node in [*labels, *(node for ids in groups.values() for node in ids)]:
        if node not in graph.places and (node not in latents or node not in labels):
            raise unknown("node", node, graph.places)
    nodes = tuple(
        replace(node, label=labels.get(node.id, labels.get(_latent(node), node.label))) for node in graph.nodes
    )
    kept = tuple(one for one in graph.supernodes if one[0] not in groups)
    return replace(graph, nodes=nodes, supernodes=(*kept, *groups.items()))


def refuse_unwritten(graph: GraphFile, ablate: Iterable[str]) -> None:
    """Raise InputError for nodes to ablate that are not in the graph, or that write nothing."""
    for one in ablate:
        if one not in graph.places:
            raise unknown("node to ablate", one, graph.places)
        if graph.nodes[graph.places[one]].kind == "logit":
            raise InputError(f"node to ablate {one!r} is a next token: it writes nothing that could be taken away")


def _latent(node: GraphNode) -> str:
    """A latent wherever it is active."""
    return f"{node.layer}_{node.index}" if node.kind == "feature" else node.id


def _labels(written: Iterable[str]) -> dict[str, str]:
    found = {}
    for one in written:
        node, sign, said = (part.strip() for part in one.partition("="))
        if not sign or not said or not NODE.fullmatch(node):
            raise InputError(f"label {one!r} cannot be read: write 4_77_5=plural, or 4_77=plural for every position")
        found[node] = said
    return found


def _groups(written: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for one in written:
        said, sign, ids = one.rpartition("=")
        nodes = tuple(node.strip() for node in ids.split(",") if node.strip())
        if not sign or not said.strip() or not nodes or not all(NODE.fullmatch(node) for node in nodes):
            raise InputError(f"supernode {one!r} cannot be read: write says Mary=27_3_28,29_5_28")
        found.append((said.strip(), nodes))
    return found
