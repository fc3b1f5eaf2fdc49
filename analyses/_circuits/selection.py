"""From scores to a circuit: the strongest edges, without those that lead from nowhere or to nowhere.

A circuit is [edge] bool in the order of `EdgeGraph.edges`. A node is alive when a kept edge enters it and a kept edge
leaves it (the embedding needs none in, the logits none out); an edge is kept when its source and something that its
input belongs to are alive. A key or value belongs to all query heads of its group.
"""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np

from analyses._stats import Bools, Floats
from hooks.edges import EdgeGraph
from hooks.errors import InputError, unknown

Rule = Literal["top_n", "threshold", "greedy"]
RULES: tuple[Rule, ...] = ("top_n", "threshold", "greedy")


def select(graph: EdgeGraph, scores: Floats, rule: str, *, size: int = 0, threshold: float = 0.0) -> Bools:
    """The circuit [edge] of a rule, pruned; by size of the score, whatever its sign.

    Args:
        scores: [edge].
        rule: top_n, the `size` strongest edges; threshold, those of at least `threshold`; greedy, `size` edges from the
            logits upwards: always the strongest that leads into what is reached already.

    Raises:
        InputError: an unknown rule, scores of another graph, a size below 1.
    """
    sizes = np.abs(np.asarray(scores, dtype=np.float64))
    if sizes.shape != (graph.n_edges,):
        raise InputError(f"scores must be one number for each of {graph.n_edges} edges; got shape {sizes.shape}")
    if rule == "threshold":
        return prune(graph, sizes >= threshold)
    if rule not in RULES:
        raise unknown("selection rule", rule, RULES)
    if size < 1:
        raise InputError(f"a circuit needs at least 1 edge, got size {size}")
    if rule == "greedy":
        return prune(graph, _greedy(graph, sizes, size))
    kept = np.zeros(graph.n_edges, dtype=bool)
    kept[np.argsort(-sizes, kind="stable")[:size]] = True
    return prune(graph, kept)


def prune(graph: EdgeGraph, kept: Bools) -> Bools:
    """The circuit without dangling edges: every edge left lies on a way from the embedding to the logits."""
    source, place = ends(graph)
    feeds = feeding(graph)
    kept = np.array(kept, dtype=bool)
    while True:
        alive = _alive(graph, kept, feeds)
        heard = np.asarray(feeds[:, alive].any(axis=1))
        left = kept & alive[source] & heard[place]
        if (left == kept).all():
            return kept
        kept = left


def nodes_of(graph: EdgeGraph, kept: Bools) -> Bools:
    """[node] (`EdgeGraph.nodes`) which are in a circuit: a kept edge leaves them, or enters the logits."""
    source, place = ends(graph)
    found = np.zeros(len(graph.nodes), dtype=bool)
    found[source[kept]] = True
    found[-1] = bool((place[kept] == len(graph.inputs) - 1).any())
    return found


def ends(graph: EdgeGraph) -> tuple[np.ndarray, np.ndarray]:
    """[edge] the number of each edge's source, and that of its input."""
    pairs = graph.edges.numpy()
    return pairs[:, 0], pairs[:, 1]


def feeding(graph: EdgeGraph) -> Bools:
    """[input node] whether an input belongs to a node."""
    found = np.zeros((len(graph.inputs), len(graph.nodes)), dtype=bool)
    for place, nodes in enumerate(graph.feeds):
        found[place, list(nodes)] = True
    return found


def touching(graph: EdgeGraph, node: int) -> Bools:
    """[edge] edges that leave a node, or enter an input that belongs to it alone."""
    source, place = ends(graph)
    own = np.array([nodes == (node,) for nodes in graph.feeds])
    return np.asarray((source == node) | own[place])


def _alive(graph: EdgeGraph, kept: Bools, feeds: Bools) -> Bools:
    source, place = ends(graph)
    entered = np.zeros(len(graph.inputs), dtype=bool)
    entered[place[kept]] = True
    fed = np.asarray(feeds[entered].any(axis=0))
    left = np.zeros(len(graph.nodes), dtype=bool)
    left[source[kept]] = True
    fed[0] = left[-1] = True
    return np.asarray(fed & left)


def _greedy(graph: EdgeGraph, sizes: Floats, size: int) -> Bools:
    """Edges taken one by one, each the strongest into an input of what is in already; the logits are in first."""
    source, place = ends(graph)
    into = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[into], np.arange(len(graph.inputs) + 1))
    of_node: list[list[int]] = [[] for _ in graph.nodes]
    for number, nodes in enumerate(graph.feeds):
        for node in nodes:
            of_node[node].append(number)
    kept, opened = np.zeros(graph.n_edges, dtype=bool), np.zeros(len(graph.inputs), dtype=bool)
    waiting: list[tuple[float, int]] = []

    def reach(node: int) -> None:
        for number in of_node[node]:
            if not opened[number]:
                opened[number] = True
                for edge in into[starts[number] : starts[number + 1]].tolist():
                    heapq.heappush(waiting, (-float(sizes[edge]), edge))

    reach(len(graph.nodes) - 1)
    for _ in range(size):
        if not waiting:
            break
        edge = heapq.heappop(waiting)[1]
        kept[edge] = True
        reach(int(source[edge]))
    return kept
