"""Random circuits of a given size that hang together as found ones do: every edge on a way from embedding to logits."""

from __future__ import annotations

import numpy as np

from analyses._circuits.selection import ends, feeding, prune
from analyses._stats import Bools
from hooks.edges import EdgeGraph
from hooks.errors import InputError

_STARTS, _VAIN, _LOOSENED = 50, 100, 8
"""Fresh starts, draws in vain until one is given up, and orders in which a large circuit is loosened."""


def random_circuit(graph: EdgeGraph, size: int, seed: int, among: Bools | None = None) -> Bools:
    """A circuit [edge] of exactly `size` edges, drawn by adding random ways from the embedding to the logits.

    A way begins with an edge drawn uniformly from those not in yet; from its two ends it walks at random, backwards to
    something that is in (or the embedding), forwards likewise (or the logits). A way too long for what is left to add
    is drawn again; after many in vain a single edge between nodes that are in is added. Circuits of more than half of
    the edges are drawn by taking edges out instead: as long as possible such that every input keeps an edge.

    Args:
        among: [edge] where edges may be drawn from; they must hang together. None means everywhere.

    Raises:
        InputError: more edges than the graph has, or none, or a size that no such circuit has.
    """
    allowed = np.ones(graph.n_edges, dtype=bool) if among is None else np.asarray(among, dtype=bool)
    if not 1 <= size <= allowed.sum():
        raise InputError(f"a random circuit has 1 to {allowed.sum()} edges, not {size}")
    rng = np.random.default_rng(seed)
    if size > allowed.sum() // 2:
        # Nearly everything hangs together: draw what is left out instead.
        return _thinned(graph, size, rng, allowed)
    return _Growing(graph, rng, allowed).grown(size)


def between(graph: EdgeGraph, nodes: Bools) -> Bools:
    """[edge] the edges between some nodes [node] (`EdgeGraph.nodes`), without those that dangle."""
    source, place = ends(graph)
    entered = np.asarray(feeding(graph)[:, nodes].any(axis=1))
    return prune(graph, nodes[source] & entered[place])


class _Growing:
    """A circuit that grows by ways."""

    def __init__(self, graph: EdgeGraph, rng: np.random.Generator, allowed: Bools) -> None:
        self.graph, self.rng, self.allowed = graph, rng, allowed
        self.choices = np.flatnonzero(allowed)
        self.source, self.place = ends(graph)
        feeds = feeding(graph)
        self.owners = [np.flatnonzero(row) for row in feeds]
        by_input = self.choices[np.argsort(self.place[self.choices], kind="stable")]
        starts = np.searchsorted(self.place[by_input], np.arange(len(graph.inputs) + 1))
        self.into = [by_input[starts[i] : starts[i + 1]] for i in range(len(graph.inputs))]
        by_source = self.choices[np.argsort(self.source[self.choices], kind="stable")]
        starts = np.searchsorted(self.source[by_source], np.arange(len(graph.sources) + 1))
        self.out = [by_source[starts[i] : starts[i + 1]] for i in range(len(graph.sources))]
        entered = np.array([len(one) > 0 for one in self.into])
        self.inputs = [np.flatnonzero(feeds[:, node] & entered) for node in range(len(graph.nodes))]
        self.last = len(graph.nodes) - 1
        self.kept = np.zeros(graph.n_edges, dtype=bool)
        self.inside = np.zeros(len(graph.nodes), dtype=bool)

    def grown(self, size: int) -> Bools:
        for _ in range(_STARTS):
            self.kept[:] = False
            self.inside[:] = False
            self.inside[[0, self.last]] = True
            if self._grow(size):
                return self.kept
        raise InputError(f"no circuit of {size} edges that hangs together was found in this graph: ask for more edges")

    def _grow(self, missing: int) -> bool:
        """Whether so many edges could be added."""
        vain = 0
        while missing and vain < _VAIN:
            way = self._link() if vain > _VAIN // 2 else self._way(int(self.rng.choice(self.choices)))
            if not way or len(way) > missing:
                vain += 1
                continue
            missing, vain = missing - len(way), 0
            self.kept[way] = True
            self.inside[self.source[way]] = True
        return not missing

    def _way(self, edge: int) -> list[int]:
        """New edges of a random way through `edge`; none where it is in already."""
        if self.kept[edge]:
            return []
        found, node = {edge}, int(self.source[edge])
        while not self.inside[node]:
            entering = self.into[int(self.rng.choice(self.inputs[node]))]
            step = int(self.rng.choice(entering))
            found.add(step)
            node = int(self.source[step])
        node = self._owner(edge)
        while not self.inside[node]:
            step = int(self.rng.choice(self.out[node]))
            found.add(step)
            node = self._owner(step)
        # An edge into a group's key may be in already, for another of its heads.
        return [step for step in sorted(found) if not self.kept[step]]

    def _owner(self, edge: int) -> int:
        """What an edge leads to: of a group's heads one that is in, or any."""
        owners = np.array([node for node in self.owners[self.place[edge]] if node == self.last or len(self.out[node])])
        inside = owners[self.inside[owners]]
        return int(self.rng.choice(inside if len(inside) else owners))

    def _link(self) -> list[int]:
        """One new edge between nodes that are in; none where they have all."""
        fed = np.array([bool(self.inside[one].any()) for one in self.owners])
        free = np.flatnonzero(self.allowed & ~self.kept & self.inside[self.source] & fed[self.place])
        return [int(self.rng.choice(free))] if len(free) else []


def _thinned(graph: EdgeGraph, size: int, rng: np.random.Generator, allowed: Bools) -> Bools:
    """A large circuit: edges are taken out at random, first those without which everything is still fed and read."""
    source, place = ends(graph)
    kept, spare = allowed.copy(), int(allowed.sum()) - size
    leaving = np.bincount(source[allowed], minlength=len(graph.sources))
    entering = np.bincount(place[allowed], minlength=len(graph.inputs))
    for edge in rng.permutation(np.flatnonzero(allowed)):
        if not spare:
            return kept
        if leaving[source[edge]] > 1 and entering[place[edge]] > 1:
            kept[edge] = False
            leaving[source[edge]] -= 1
            entering[place[edge]] -= 1
            spare -= 1
    for _ in range(_LOOSENED if spare else 0):
        smaller = _loosened(graph, kept, size, rng)
        if smaller.sum() == size:
            return smaller
        # Another order, with every edge there to choose from, may take out what this one could not.
        kept = allowed
    if spare:
        raise InputError(f"no circuit of {size} edges that hangs together was found in this graph: ask for other sizes")
    return kept


def _loosened(graph: EdgeGraph, kept: Bools, size: int, rng: np.random.Generator) -> Bools:
    """Edges taken out with what then dangles, an input's only edge too, while at least `size` are left."""
    kept = kept.copy()
    # An edge that once took too much with it takes no less from a smaller circuit: each is tried once.
    for edge in rng.permutation(np.flatnonzero(kept)):
        if kept.sum() == size:
            break
        if kept[edge]:
            less = kept.copy()
            less[edge] = False
            less = prune(graph, less)
            kept = less if less.sum() >= size else kept
    return kept
