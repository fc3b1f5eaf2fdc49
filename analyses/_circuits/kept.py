"""Kept circuits: the scores of every edge, which are in the circuit, and what they were scored by.

An artifact of kind "circuit" has the tensors `scores` [edge] (fp32) and `kept` [edge] (bool), and `pair_scores`
[pair edge] (fp32) where every pair was scored by itself and they are not too many. Its edges are those of
`edge_graph(geometry, layers)` in that order: by input, then by source, in order of computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from analyses._stats import Bools, Floats
from hooks.dictionaries.placed import known, unlike
from hooks.edges import EdgeGraph, edge_graph
from hooks.errors import InputError

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

KIND = "circuit"
MOST_BYTES = 128 * 2**20
"""Scores by pair that would take more are not kept."""
ORDER = "by input (each layer's q, k, v, MLP, then the logits), then by source (embedding, each layer's heads, its MLP)"


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit of one model.

    Attributes:
        graph: all edges.
        scores: [edge], estimated change of the metric when the edge is corrupted.
        kept: [edge], which are in the circuit.
        about: method, metric, unit, task, selection, `seen`, digests of the pairs that it was scored on, and
            `preferred`, in how many of them the answer is preferred.
        pair_scores: [pair edge] in the order of `seen`, whose mean `scores` are; None where they were not kept.
    """

    graph: EdgeGraph
    scores: Floats
    kept: Bools
    about: dict[str, Any]
    pair_scores: Floats | None = None


def contents(model: Model, circuit: Circuit) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, meta) of an artifact."""
    tensors = {"scores": torch.from_numpy(circuit.scores).float(), "kept": torch.from_numpy(circuit.kept)}
    by_pair = circuit.pair_scores
    if by_pair is not None and np.isfinite(by_pair).all() and 4 * by_pair.size <= MOST_BYTES:
        tensors["pair_scores"] = torch.from_numpy(by_pair).float()
    meta = {
        "model": model.identity.as_dict(), "layers": list(circuit.graph.layers), "nodes": list(circuit.graph.nodes),
        "geometry": asdict(model.geometry), "order": ORDER, "about": dict(circuit.about),
    }  # fmt: skip
    return tensors, meta


def circuit_of(artifact: Artifact, model: Model) -> Circuit:
    """What `contents` kept. Raises InputError for a circuit of another model, or one that is damaged."""
    if told := another(artifact, model):
        raise InputError(
            f"circuit {artifact.name!r} is of a model of {told[0]}; the loaded one has {told[1]}: trace it again"
        )
    return circuit_shaped(artifact, model)


def another(artifact: Artifact, model: Model) -> tuple[str, str] | None:
    """What of the identity of the circuit's model is not this model's: (theirs, this one's) in words."""
    whose = artifact.meta.get("model")
    if not isinstance(whose, Mapping) or not {"scores", "kept"} <= set(artifact.tensors):
        raise InputError(
            f"artifact {artifact.name!r} does not hold a circuit: keep one with edge_attribution --keep-as"
        )
    return unlike(known(dict(whose)), model)


def circuit_shaped(artifact: Artifact, model: Model) -> Circuit:
    """A circuit of any model of this model's shape. Raises InputError for another shape, or one that is damaged."""
    another(artifact, model)
    unlike_shape = InputError(
        f"circuit {artifact.name!r} is of a model of another shape, whose nodes and edges are not this model's: trace "
        "it again"
    )
    if artifact.meta.get("geometry", asdict(model.geometry)) != asdict(model.geometry):
        raise unlike_shape
    graph = edge_graph(model.geometry, [int(layer) for layer in artifact.meta["layers"]])
    scores, kept = artifact.tensors["scores"].double().numpy(), artifact.tensors["kept"].bool().numpy()
    if list(graph.nodes) != list(artifact.meta["nodes"]) or not scores.shape == kept.shape == (graph.n_edges,):
        raise unlike_shape
    by_pair = artifact.tensors.get("pair_scores")
    if not all(bool(one.isfinite().all()) for one in artifact.tensors.values()):
        raise InputError(f"circuit {artifact.name!r} holds scores that are not finite: trace it again")
    about = dict(artifact.meta.get("about") or {})
    return Circuit(graph, scores, kept, about, None if by_pair is None else by_pair.double().numpy())
