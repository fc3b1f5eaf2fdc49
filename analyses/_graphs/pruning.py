"""What of a graph is drawn: the strongest edges, or those that lead to or from one node."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from analyses._graphs.view import GraphView
from hooks.errors import unknown


@dataclass(frozen=True, eq=False)
class _Graph:
    """The frames as arrays: of every edge its ends (places in `ids`) and |weight|, and whether it may be drawn."""

    ids: pd.Index
    source: np.ndarray
    target: np.ndarray
    size: np.ndarray
    allowed: np.ndarray


def drawn(nodes: pd.DataFrame, edges: pd.DataFrame, view: GraphView) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The nodes and edges to draw, in the frames' order, and a sentence that says what was left out ("" for nothing).

    Edges under `least_weight`, without a finite weight, or at a node of a hidden kind go first. Of the others the
    `most_edges` strongest stay. With a focus they are grown from it instead: up to half of them are its own strongest
    edges, then always the strongest edge that goes on from what is reached, so every edge drawn leads to the focus, or
    from it, by edges drawn. Nodes at which no edge is drawn are left out; pinned ones and the focus never are.

    Raises:
        InputError: a focus, a pinned node or a kind that the graph does not have.
        ValueError: an edge to a node that is not in `nodes`.
    """
    _check(nodes, view)
    graph = _read(nodes, edges, view)
    order = _strongest(graph, view) if view.focus is None else _grown(graph, view)
    chosen = np.zeros(len(edges), dtype=bool)
    chosen[order] = True
    used = np.zeros(len(nodes), dtype=bool)
    used[graph.source[chosen]] = used[graph.target[chosen]] = True
    used |= nodes["node"].isin([*view.pinned, view.focus]).to_numpy()
    # As categories, the kinds that are left out keep the colours of the others where they are.
    known = pd.Categorical(nodes["kind"], categories=nodes["kind"].unique())
    kept, left = edges[chosen].reset_index(drop=True), nodes.assign(kind=known)[used].reset_index(drop=True)
    return left, kept, _note(graph, view, len(left), len(kept))


def _check(nodes: pd.DataFrame, view: GraphView) -> None:
    known = set(nodes["node"])
    for name, asked in (("focus", [view.focus] if view.focus is not None else []), ("pinned", view.pinned)):
        for one in asked:
            if one not in known:
                raise unknown(f"{name} node", one, known)
    kinds = set(nodes["kind"])
    for kind in view.hidden_kinds:
        if kind not in kinds:
            raise unknown("kind of node", kind, kinds)


def _read(nodes: pd.DataFrame, edges: pd.DataFrame, view: GraphView) -> _Graph:
    ids = pd.Index(nodes["node"])
    source, target = (ids.get_indexer(edges[end]) for end in ("source", "target"))
    if len(edges) and min(source.min(), target.min()) < 0:
        lost = edges[(source < 0) | (target < 0)].iloc[0]
        raise ValueError(f"the edge {lost['source']} → {lost['target']} has an end that is no node of the graph")
    hidden = nodes["kind"].isin(view.hidden_kinds) & ~nodes["node"].isin([*view.pinned, view.focus])
    size = edges["weight"].to_numpy(dtype=float)
    finite = np.isfinite(size)
    size = np.abs(np.where(finite, size, 0.0))
    away = hidden.to_numpy()
    return _Graph(ids, source, target, size, finite & (size >= view.least_weight) & ~away[source] & ~away[target])


def _strongest(graph: _Graph, view: GraphView) -> np.ndarray:
    places = np.flatnonzero(graph.allowed)
    return places[np.argsort(-graph.size[places], kind="stable")[: view.most_edges]]


def _grown(graph: _Graph, view: GraphView) -> list[int]:
    """Edges in the order in which they are reached from the focus: a search that always takes the strongest."""
    focus = int(np.flatnonzero(graph.ids == view.focus)[0])
    ends = {"upstream": (graph.target, graph.source), "downstream": (graph.source, graph.target)}
    sides = [ends[side] for side in ends if view.direction in (side, "both")]
    at = [_by_node(near, graph) for near, _ in sides]
    own = [(edge, side) for side, listed in enumerate(at) for edge in listed[focus]]
    own.sort(key=lambda one: (-graph.size[one[0]], one[0]))
    # Own edges beyond the first half wait at the end of the queue: they come when nothing else is left to reach.
    first = (view.most_edges + 1) // 2
    heap = [(1.0 + place, edge, side) for place, (edge, side) in enumerate(own[first:])]
    seen: list[set[int]] = [{focus} for _ in sides]
    found: list[int] = []
    coming = iter(own[:first])
    while len(found) < view.most_edges:
        edge, side = next(coming, (-1, 0))
        if edge < 0:
            if not heap:
                break
            _, edge, side = heapq.heappop(heap)
        found.append(edge)
        node = int(sides[side][1][edge])
        if node not in seen[side]:
            seen[side].add(node)
            for more in at[side][node]:
                heapq.heappush(heap, (-float(graph.size[more]), more, side))
    return found


def _by_node(near: np.ndarray, graph: _Graph) -> list[list[int]]:
    """Of every node the edges that may be drawn at this end of theirs."""
    places = np.flatnonzero(graph.allowed)
    places = places[np.argsort(near[places], kind="stable")]
    edges = np.searchsorted(near[places], np.arange(len(graph.ids) + 1))
    listed = places.tolist()
    return [listed[start:stop] for start, stop in pairwise(edges.tolist())]


def _note(graph: _Graph, view: GraphView, nodes: int, edges: int) -> str:
    said = []
    if view.focus is not None:
        side = {"upstream": "what leads to", "downstream": "what follows from", "both": "what hangs on"}[view.direction]
        said.append(f"only {side} {view.focus}")
    if edges < len(graph.size) or nodes < len(graph.ids):
        said.append(f"drawn: {edges:,} of {len(graph.size):,} edges, {nodes:,} of {len(graph.ids):,} nodes")
    if view.least_weight:
        said.append(f"weights under {view.least_weight:g} left out")
    if view.hidden_kinds:
        said.append(f"hidden: {', '.join(view.hidden_kinds)}")
    return "; ".join(said)
