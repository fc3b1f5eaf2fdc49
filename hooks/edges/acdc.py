"""ACDC: edges are cut one after another, from the logits back, and stay cut where that does little harm.

Source: Conmy et al. 2023 (METHODS.md § 11). In reverse order of computation each edge is cut in the circuit as it
stands; if that lowers the goodness by less than a threshold (signed: a gain always counts as less) it stays cut. A node
that no kept edge leaves is dropped with its inputs, without a run. The result depends on the order, which is fixed:
inputs from the logits to the first layer (MLP, then values, keys, queries, last head first), sources last first.

Runs are made ahead: several candidates in one forward, each with all candidates before it cut. Their values are those
of one at a time for as long as each is cut; after the first that is restored the others are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.edges.graph import EdgeGraph
from hooks.errors import InputError
from hooks.progress import Progress, silent

Evaluate = Callable[[Tensor], Tensor]
"""[circuit edge] bool, kept edges → [circuit] goodness."""


@dataclass(frozen=True, eq=False)
class Acdc:
    """What ACDC found.

    Attributes:
        kept: [edge] bool.
        losses: [edge] goodness lost by the cut, when it was tried; NaN for inputs of nodes that were dropped.
        value: the goodness of the circuit that is left.
        runs: how many circuits were evaluated.
    """

    kept: Tensor
    losses: Tensor
    value: float
    runs: int


def acdc(
    graph: EdgeGraph, evaluate: Evaluate, threshold: float, *, together: int = 32, progress: Progress = silent
) -> Acdc:
    """Prune the graph edge by edge.

    Args:
        evaluate: the goodness of several circuits.
        threshold: τ, in the metric's unit: a cut that loses less is kept.
        together: most candidates evaluated ahead in one call; 1 is the plain algorithm.

    Raises:
        InputError: a threshold that is no number, or `together` below 1.
    """
    if threshold != threshold or together < 1:
        raise InputError(f"ACDC needs a threshold that is a number and together ≥ 1; got {threshold} and {together}")
    kept = torch.ones(graph.n_edges, dtype=torch.bool)
    losses = torch.full((graph.n_edges,), float("nan"))
    value = float(evaluate(kept[None])[0])
    runs, ahead = 1, min(4, together)
    for place in range(len(graph.inputs) - 1, -1, -1):
        waiting = _into(graph, place)
        if not _leads_on(graph, kept, place):
            kept[waiting] = False
            continue
        progress(1 - (place + 1) / len(graph.inputs), f"edges into {graph.inputs[place].name}")
        while waiting:
            tried = waiting[:ahead]
            values = evaluate(_cut_in_turn(kept, tried)).tolist()
            runs += len(tried)
            done = 0
            for edge, after in zip(tried, values, strict=True):
                done += 1
                losses[edge] = value - after
                if not value - after < threshold:
                    break
                kept[edge], value = False, after
            waiting = waiting[done:]
            ahead = min(2 * ahead, together) if done == len(tried) else max(1, ahead // 2)
    return Acdc(kept, losses, value, runs)


def _into(graph: EdgeGraph, place: int) -> list[int]:
    """Numbers of the edges into an input, last source first."""
    found: list[int] = (graph.edges[:, 1] == place).nonzero().flatten().tolist()
    return found[::-1]


def _leads_on(graph: EdgeGraph, kept: Tensor, place: int) -> bool:
    """Whether some component that an input belongs to is the logits or has a kept edge leaving it."""
    logits = len(graph.nodes) - 1
    leaving = set(graph.edges[kept, 0].tolist())
    return any(node == logits or node in leaving for node in graph.feeds[place])


def _cut_in_turn(kept: Tensor, edges: list[int]) -> Tensor:
    """[edge of `edges`, edge]: the circuit with the first so many of `edges` cut."""
    circuits = kept.repeat(len(edges), 1)
    for row, edge in enumerate(edges):
        circuits[row:, edge] = False
    return circuits
