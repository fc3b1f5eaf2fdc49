"""The circuits that are measured: found ones of every size, the model without them, random ones, and less a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._circuits.chance import between, random_circuit
from analyses._circuits.kept import Circuit
from analyses._circuits.selection import ends, nodes_of, select
from analyses._stats import Bools
from hooks.edges import EdgeGraph

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec

FULL, EMPTY = "all edges", "no edge"
ALONE, CUT, WITHOUT = "circuit alone", "model without circuit", "circuit less a node"
FOUND = "found"
CONTROLS = {"anywhere": "random", "same nodes": "random, same nodes"}
"""What random circuits are called, by where their edges are drawn."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Circuits to run, [circuit edge], and a row for each: kind, whose, size, draw, node, edges, nodes.

    The first two are all edges and none. `whose` is found or one of CONTROLS; `size` what was asked for; `edges` what
    is left of it after pruning, of the circuit itself also where its complement is run.
    """

    kept: Bools
    rows: pd.DataFrame


def masks_of(circuit: Circuit, spec: EvaluationSpec) -> Masks:
    """Every circuit of a spec, larger sizes after smaller; a kept circuit's own edges are one more size."""
    graph = circuit.graph
    kept: list[Bools] = [np.ones(graph.n_edges, dtype=bool), np.zeros(graph.n_edges, dtype=bool)]
    rows = [_row(FULL, "", -1, -1, "", graph.n_edges, len(graph.nodes)), _row(EMPTY, "", -1, -1, "", 0, 0)]
    sizes = sorted({min(size, graph.n_edges) for size in spec.sizes})
    found = {size: select(graph, circuit.scores, spec.selection, size=size) for size in sizes}
    own = int(circuit.kept.sum())
    if own and not any((one == circuit.kept).all() for one in found.values()):
        found[own] = circuit.kept
    for number, (size, mine) in enumerate(sorted(found.items())):
        edges = int(mine.sum())
        # A circuit that pruning left empty has no random counterpart.
        drawn = [(FOUND, -1, mine)]
        for control in dict.fromkeys(spec.controls) if edges else ():
            among = None if control == "anywhere" else between(graph, nodes_of(graph, mine))
            for draw in range(spec.draws):
                one = random_circuit(graph, edges, _seed(spec, number, draw), among)
                drawn.append((CONTROLS[control], draw, one))
        for whose, draw, one in drawn:
            about = (whose, size, draw)
            inside = int(nodes_of(graph, one).sum())
            kept += [one, ~one]
            rows += [_row(ALONE, *about, "", edges, inside), _row(CUT, *about, "", edges, inside)]
            if draw < 1:
                rng = np.random.default_rng(_seed(spec, number, draw + 1) + 1)
                for node in _drawn_nodes(graph, one, spec.nodes_out, rng):
                    kept.append(one & ~_at(graph, node))
                    rows.append(_row(WITHOUT, *about, graph.nodes[node], edges, inside))
    return Masks(np.stack(kept), pd.DataFrame(rows))


def _seed(spec: EvaluationSpec, number: int, draw: int) -> int:
    return spec.draw_seed * 1_000_003 + number * 1009 + draw * 2


def _drawn_nodes(graph: EdgeGraph, kept: Bools, most: int, rng: np.random.Generator) -> list[int]:
    """Heads and MLPs of a circuit, at most so many, in order of computation."""
    inside = np.flatnonzero(nodes_of(graph, kept)[1:-1]) + 1
    return sorted(rng.choice(inside, size=min(most, len(inside)), replace=False).tolist()) if len(inside) else []


def _at(graph: EdgeGraph, node: int) -> Bools:
    """[edge] the edges that leave a node: without them nothing that enters it matters."""
    source, _ = ends(graph)
    return np.asarray(source == node)


def _row(kind: str, whose: str, size: int, draw: int, node: str, edges: int, nodes: int) -> dict[str, object]:
    return {"kind": kind, "whose": whose, "size": size, "draw": draw, "node": node, "edges": edges, "nodes": nodes}
