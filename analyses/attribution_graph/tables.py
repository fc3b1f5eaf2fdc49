"""Tables of a graph, all from its file: nodes, edges, scores, and the strongest paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses._contract import Frames
from analyses._plots import glyphs
from analyses.attribution_graph.columns import COLUMNS
from data.graph_files import GraphFile, GraphNode
from hooks.replacement import ordered, strongest


@dataclass(frozen=True)
class Told:
    """What a graph file does not say: a name for its making, and the bytes it took."""

    name: str
    memory: int | None = None


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with exactly the declared columns."""
    return pd.DataFrame(rows, columns=[column.name for column in COLUMNS[name]])


def short(graph: GraphFile, node: GraphNode) -> str:
    """A node in a few letters."""
    tokens = graph.metadata["prompt_tokens"]
    at = glyphs(str(tokens[node.position])) if 0 <= node.position < len(tokens) else str(node.position)
    if node.kind == "token":
        return at
    if node.kind == "logit":
        return token_of(node)
    named = node.label or ("error" if node.kind == "error" else f"#{node.index}")
    return f"L{node.layer} {named} @{node.position} {at}"


def token_of(node: GraphNode) -> str:
    """A logit's token, from `Output "…" (p=…)`, or its id."""
    parts = node.label.split('"')
    return glyphs('"'.join(parts[1:-1])) if len(parts) > 2 else node.label or f"token {node.index}"


def frames_of(graph: GraphFile, told: Told, most_paths: int) -> Frames:
    """Everything but the interventions."""
    size, total = np.array([abs(link[2]) for link in graph.links]), np.zeros(len(graph.nodes))
    for at, (_, target, _) in enumerate(graph.links):
        total[target] += size[at]
    share = [size[at] / max(total[target], 1e-300) for at, (_, target, _) in enumerate(graph.links)]
    weight = {place: 1.0 if node.probability is None else node.probability
              for place, node in enumerate(graph.nodes) if node.kind == "logit"}  # fmt: skip
    # Of targets that hold 0.95 of the probability, say: what is told are shares of their weight, which sum to 1.
    mass = sum(weight.values()) or 1.0
    weight = {place: one / mass for place, one in weight.items()}
    flow = _influence(graph, share, weight)
    groups = {node: label for label, ids in graph.supernodes for node in ids}
    nodes = [
        {"node": node.id, "kind": node.kind, "layer": node.layer, "position": node.position, "index": node.index,
         "label": node.label, "group": groups.get(node.id, ""), "activation": node.activation,
         "promotes": " ".join(glyphs(one) for one in node.more.get("promotes") or ()),
         "probability": node.probability, "influence": float(flow[place]), "held": node.influence}
        for place, node in enumerate(graph.nodes)
    ]  # fmt: skip
    edges = [
        {
            "source": graph.nodes[source].id,
            "target": graph.nodes[target].id,
            "weight": value,
            "share": share[at],
            "influence": share[at] * (float(flow[target]) + weight.get(target, 0.0)),
        }
        for at, (source, target, value) in enumerate(graph.links)
    ]
    numbers = dict.fromkeys(("activation", "probability", "influence", "held"), "float64")
    tokens = [{"position": at, "token": str(one)} for at, one in enumerate(graph.metadata["prompt_tokens"])]
    return {
        "nodes": table("nodes", nodes).astype(numbers),
        "edges": table("edges", edges).astype(dict.fromkeys(("share", "influence"), "float64")),
        "paths": table("paths", _paths(graph, share, weight, most_paths)), "tokens": table("tokens", tokens),
        "scores": _scores(graph, flow, share, weight, told),
    }  # fmt: skip


def _influence(graph: GraphFile, share: Sequence[float], weight: Mapping[int, float]) -> np.ndarray:
    """[node] what flows back from the logits, in one pass from the top: each node is complete before it passes on."""
    flow, arriving = np.zeros(len(graph.nodes)), [[] for _ in graph.nodes]  # type: ignore[var-annotated]
    for at, (source, target, _) in enumerate(graph.links):
        arriving[target].append((source, share[at]))
    for node in reversed(ordered(len(graph.nodes), [link[:2] for link in graph.links])):
        for source, part in arriving[node]:
            flow[source] += part * (flow[node] + weight.get(node, 0.0))
    return flow


def _paths(
    graph: GraphFile, share: Sequence[float], weight: Mapping[int, float], most: int
) -> list[dict[str, Any]]:  # fmt: skip
    edges = [(source, target, share[at]) for at, (source, target, _) in enumerate(graph.links)]
    signs = {(source, target): np.sign(value) for source, target, value in graph.links}
    kinds = [node.kind for node in graph.nodes]
    through = [edge for edge in edges if (kinds[edge[0]], kinds[edge[1]]) != ("token", "logit")]
    rows = []
    for start, allowed in (("token", edges), ("token, through latents", through), ("error", edges)):
        starts = {place for place, kind in enumerate(kinds) if kind == start.split(",")[0]}
        for number, path in enumerate(strongest(len(graph.nodes), allowed, dict(weight), starts, most), 1):
            pairs = zip(path.nodes[:-1], path.nodes[1:], strict=True)
            rows.append({
                "path": number, "start": start, "share": path.share,
                "sign": int(np.prod([signs[pair] for pair in pairs])),
                "route": " → ".join(short(graph, graph.nodes[node]) for node in path.nodes),
                "nodes": " ".join(graph.nodes[node].id for node in path.nodes),
            })  # fmt: skip
    return rows


def _scores(
    graph: GraphFile, flow: np.ndarray, share: Sequence[float], weight: Mapping[int, float], told: Told
) -> pd.DataFrame:
    info = dict(graph.metadata.get("info") or {})
    known = "replacement_score" in info
    own = (info["replacement_score"], info["completeness_score"]) if known else _scored(graph, flow, share, weight)
    covered = info.get("transcoder_layers")
    row = {
        "graph": told.name, "prompt": graph.metadata["prompt"], "layers": info.get("n_layers"),
        "covered": "not told" if covered is None else ", ".join(str(one) for one in covered),
        "replacement": own[0], "completeness": own[1], "scored": "before pruning" if known else "pruned",
        "active": info.get("active_features"), "traced": info.get("traced_features"),
        "nodes_before": info.get("nodes_before_pruning"), "nodes": len(graph.nodes),
        "edges_before": info.get("edges_before_pruning"), "edges": len(graph.links),
        "largest_gap": info.get("largest_gap"), "memory": told.memory,
    }  # fmt: skip
    counts = ("layers", "active", "traced", "nodes_before", "nodes", "edges_before", "edges", "memory")
    numbers = dict.fromkeys(("replacement", "completeness", "largest_gap"), "float64")
    return table("scores", [row]).astype(dict.fromkeys(counts, "Int64") | numbers)


def _scored(
    graph: GraphFile, flow: np.ndarray, share: Sequence[float], weight: Mapping[int, float]
) -> tuple[float, float]:
    """(replacement, completeness) of the graph as it is."""
    kinds = np.array([node.kind for node in graph.nodes])
    whole = flow + np.array([weight.get(place, 0.0) for place in range(len(graph.nodes))])
    missed = np.zeros(len(graph.nodes))
    for at, (source, target, _) in enumerate(graph.links):
        missed[target] += share[at] if graph.nodes[source].kind == "error" else 0.0
    tokens, errors = flow[kinds == "token"].sum(), flow[kinds == "error"].sum()
    replacement = tokens / (tokens + errors) if tokens + errors else float("nan")
    return float(replacement), float(((1 - missed) * whole).sum() / whole.sum()) if whole.sum() else float("nan")
