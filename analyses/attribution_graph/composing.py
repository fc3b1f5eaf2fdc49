"""From edges to a graph file: ids, what latents promote, cumulative influence, and how it was made."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from data.graph_files import GraphFile, GraphNode
from hooks.replacement import Graph, LocalModel, Pruned, cumulative, influence, scores, shares

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec
    from analyses.attribution_graph.standing_in import StandIns

PROMOTED, BLOCK = 3, 256


def composed(
    local: LocalModel, graph: Graph, pruned: Pruned, prompt: str, given: StandIns, spec: AttributionGraphSpec
) -> GraphFile:
    """The pruned graph; its nodes are in the order of `pruned.nodes`."""
    share = shares(graph.rows)
    held = cumulative(influence(share, graph.targets, graph.weight))
    replacement, completeness = scores(share, graph.targets, graph.weight, graph.mask("error"), graph.mask("token"))
    tokens = local.ids.tolist()
    said = promoted(local, graph, pruned.nodes[pruned.nodes < len(graph.features)])
    nodes = tuple(_node(local, graph, int(node), float(held[node]), said) for node in pruned.nodes)
    ends = (torch.searchsorted(pruned.nodes, one).tolist() for one in (pruned.source, pruned.target))
    links = tuple(zip(*ends, pruned.weight.tolist(), strict=True))
    model = local.model.identity.as_dict()
    digest = hashlib.sha256(f"{model}{prompt}{given.name}{given.revision}".encode()).hexdigest()[:12]
    layers = local.transcoders.layers
    info: dict[str, Any] = {
        "generator": {"name": "Interp Workbench"}, "transcoder_set": given.name, "model": model,
        "replacement_score": replacement, "completeness_score": completeness, "transcoder_layers": list(layers),
        "n_layers": graph.n_layers, "active_features": graph.active, "traced_features": len(graph.features),
        "nodes_before_pruning": int((influence(share, graph.targets, graph.weight) > 0).sum()) + len(graph.logits),
        "edges_before_pruning": int((graph.rows != 0).sum()), "first_position": local.first,
        "largest_gap": graph.unexplained(),
    }  # fmt: skip
    metadata = {
        "slug": spec.keep_as or f"graph-{digest}", "scan": given.name, "prompt": prompt,
        "prompt_tokens": local.model.str_tokens(tokens), "node_threshold": spec.node_threshold, "schema_version": 1,
        "info": info,
        "generation_settings": {"max_n_logits": spec.most_targets, "desired_logit_prob": spec.target_mass,
                                "max_feature_nodes": spec.most_features},
        "pruning_settings": {"node_threshold": spec.node_threshold, "edge_threshold": spec.edge_threshold},
    }  # fmt: skip
    return GraphFile(metadata, nodes, links)


def _node(local: LocalModel, graph: Graph, node: int, held: float, said: dict[int, list[str]]) -> GraphNode:
    kind, layer, position = graph.place(node)
    if kind == "feature":
        value = float(graph.features.value[node])
        return GraphNode("feature", layer, position, int(graph.features.index[node]), "", held, value,
                         more={"promotes": said[node]})  # fmt: skip
    if kind == "error":
        return GraphNode("error", layer, position, -1, "", held)
    if kind == "token":
        return GraphNode("token", -1, position, int(local.ids[position]), "", held)
    place = node - (graph.n_nodes - len(graph.logits))
    token, probability = int(graph.logits[place]), float(graph.probabilities[place])
    (text,) = local.model.str_tokens([token])
    return GraphNode("logit", graph.n_layers + 1, position, token, f'Output "{text}" (p={probability:.3f})',
                     probability=probability, target=place == 0)  # fmt: skip


@torch.no_grad()
def promoted(local: LocalModel, graph: Graph, nodes: Tensor) -> dict[int, list[str]]:
    """By feature, the tokens whose logits all that it writes raises most, through the final norm's weight."""
    model, norm = local.model, local.model.norm(None)
    written = torch.zeros(len(nodes), local.mlp_out.shape[2])
    kept = graph.features.at(nodes)
    for layer in local.transcoders.layers:
        mine = kept.layer == layer
        for target in local.transcoders.targets(layer):
            written[mine] += local.transcoders.written(layer, target, kept.index[mine])
    read = norm.linear(written, torch.ones(()))
    found: list[list[str]] = []
    for block in read.split(BLOCK):
        found += [model.str_tokens(row) for row in (block @ model.W_U.float()).topk(PROMOTED).indices.tolist()]
    return dict(zip(nodes.tolist(), found, strict=True))
