"""An attribution graph as it is kept and exchanged: nodes with circuit-tracer's ids, links, labels and groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from hooks.errors import InputError

if TYPE_CHECKING:
    from data.artifacts import Artifact

KIND = "graph"
"""The artifacts' kind."""
Kind = Literal["feature", "error", "token", "logit"]
TYPES: dict[str, Kind] = {
    "cross layer transcoder": "feature",
    "mlp reconstruction error": "error",
    "embedding": "token",
    "logit": "logit",
}
"""circuit-tracer's words, which it uses for transcoders of single layers too."""


@dataclass(frozen=True)
class GraphNode:
    """One node.

    Attributes:
        kind: feature, error, token (its embedding) or logit.
        layer: of MLPs, from 0; −1 for tokens; for logits one more than the number of layers, as circuit-tracer has it.
        position: token position.
        index: the latent, the token id of tokens and logits, −1 for errors.
        label: written by hand, or `Output "…" (p=…)`.
        influence: share of all influence that this and all stronger nodes hold together, by which viewers filter.
        activation: of a feature.
        probability: of a logit.
        target: the logit that the graph is first of all about.
        more: what else a file says of it.
    """

    kind: Kind
    layer: int
    position: int
    index: int
    label: str = ""
    influence: float | None = None
    activation: float | None = None
    probability: float | None = None
    target: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """circuit-tracer's id in its newer form, in which no two nodes share one."""
        return f"{'E' if self.kind == 'token' else self.layer}_{self.index}_{self.position}"


@dataclass(frozen=True)
class GraphFile:
    """A pruned graph.

    Attributes:
        metadata: `slug`, `scan` (whose features), `prompt`, `prompt_tokens`, and whatever else is told.
        nodes: in any order.
        links: (source, target, weight) by places in `nodes`.
        supernodes: groups made by hand, (label, ids of nodes).
        pinned: ids of nodes.
        view: the viewer's other settings.
    """

    metadata: dict[str, Any]
    nodes: tuple[GraphNode, ...]
    links: tuple[tuple[int, int, float], ...]
    supernodes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pinned: tuple[str, ...] = ()
    view: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[str, int]:
        """By id, the place of a node."""
        return {node.id: place for place, node in enumerate(self.nodes)}


def contents(graph: GraphFile) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, meta) of an artifact of kind KIND; weights are kept as they are written, in float64."""
    ends = torch.tensor([link[:2] for link in graph.links], dtype=torch.int64).reshape(-1, 2)
    weight = torch.tensor([link[2] for link in graph.links], dtype=torch.float64)
    meta = {
        "metadata": graph.metadata, "nodes": [vars(node) for node in graph.nodes],
        "supernodes": [[label, list(ids)] for label, ids in graph.supernodes], "pinned": list(graph.pinned),
        "view": graph.view,
    }  # fmt: skip
    return {"source": ends[:, 0].clone(), "target": ends[:, 1].clone(), "weight": weight}, json.loads(json.dumps(meta))


def graph_of(artifact: Artifact) -> GraphFile:
    """What `contents` kept. Raises InputError for an artifact that is not that."""
    meta: Mapping[str, Any] = artifact.meta
    try:
        links = zip(*(artifact.tensors[name].tolist() for name in ("source", "target", "weight")), strict=True)
        return GraphFile(
            dict(meta["metadata"]), tuple(GraphNode(**node) for node in meta["nodes"]), tuple(links),
            tuple((str(label), tuple(ids)) for label, ids in meta["supernodes"]), tuple(meta["pinned"]),
            dict(meta["view"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"artifact {artifact.name!r} does not hold a graph: {error!r}") from error


def cantor(layer: int, index: int) -> int:
    """circuit-tracer's one number for a feature."""
    return (layer + index) * (layer + index + 1) // 2 + index


def uncantor(number: int) -> tuple[int, int]:
    """(layer, index) of it."""
    total = (isqrt(8 * number + 1) - 1) // 2
    index = number - total * (total + 1) // 2
    return total - index, index
