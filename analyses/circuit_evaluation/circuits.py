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
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec

FULL, EMPTY = "all edges", "no edge"
ALONE, CUT, WITHOUT = "circuit alone", "model without circuit", "circuit less a node"
FOUND, ACDC = "found", "acdc"
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
    """Every circuit of a spec, larger sizes after smaller; a kept circuit's own edges are one more size.

    Raises:
        InputError: a circuit by ACDC that holds no edge.
    """
    graph = circuit.graph
    kept: list[Bools] = [np.ones(graph.n_edges, dtype=bool), np.zeros(graph.n_edges, dtype=bool)]
    rows = [_row(FULL, "", -1, -1, "", graph.n_edges, len(graph.nodes)), _row(EMPTY, "", -1, -1, "", 0, 0)]
    for number, (size, mine) in enumerate(sorted(_found(circuit, spec).items())):
        edges = int(mine.sum())
        # A circuit that pruning left empty has no random counterpart.
        drawn = [(FOUND, -1, mine)]
        for control in dict.fromkeys(spec.controls) if edges else ():
            among = None if control == "anywhere" else between(graph, nodes_of(graph, mine))
            drawn += _random(graph, edges, CONTROLS[control], among, spec, number)
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


def _found(circuit: Circuit, spec: EvaluationSpec) -> dict[int, Bools]:
    """By size, the circuits that the scores make. ACDC ranks no edges: its circuit is there at its own size alone."""
    graph, own = circuit.graph, int(circuit.kept.sum())
    if circuit.about.get("method") == ACDC:
        if not own:
            raise InputError(
                f"circuit {spec.circuit!r} is by ACDC, which cut every edge: trace it with a lower threshold"
            )
        return {own: circuit.kept}
    sizes = sorted({min(size, graph.n_edges) for size in spec.sizes})
    found = {size: select(graph, circuit.scores, spec.selection, size=size) for size in sizes}
    if own and not any((one == circuit.kept).all() for one in found.values()):
        found[own] = circuit.kept
    return found


def _random(
    graph: EdgeGraph, edges: int, name: str, among: Bools | None, spec: EvaluationSpec, number: int
) -> list[tuple[str, int, Bools]]:
    """(name, draw, circuit) of each draw; none where no circuit of that size was found."""
    # Where the nodes are all there are, the seed of the other control would draw the same circuits again.
    again = 500_009 if among is not None and among.all() else 0
    try:
        return [
            (name, draw, random_circuit(graph, edges, _seed(spec, number, draw) + again, among))
            for draw in range(spec.draws)
        ]
    except InputError:
        return []


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
