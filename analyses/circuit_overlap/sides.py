"""What is compared: circuits of the run's own pairs, by method, label and model, and kept ones of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._circuits.kept import Circuit, another, circuit_shaped
from analyses._circuits.pairs import LEFT_OUT, digest, pairs_table
from analyses._circuits.scoring import WORDS, score_pairs
from analyses._circuits.selection import select
from analyses._common import checked_layers, steps
from analyses._contract import Context, Inputs
from analyses._stats import Bools, Floats
from hooks.edges import EdgeGraph, edge_graph
from hooks.errors import InputError
from hooks.metrics import Metric
from hooks.pairs import AlignedPair, align

if TYPE_CHECKING:
    from analyses.circuit_overlap import CircuitOverlapSpec
    from hooks.model import Model

NAMED = ("first", "second", "third", "fourth")
OWN, KEPT = "these pairs", "kept"


@dataclass(frozen=True, eq=False)
class Side:
    """One of the circuits that are compared, before edges are chosen.

    Attributes:
        name: what it is called in tables and pictures.
        where: OWN or KEPT.
        model, task, method, metric: what was scored, how.
        circuit: graph and scores; what of it was `kept` counts for kept ones alone.
        pairs, preferred: how many pairs it was scored on, and in how many the answer is preferred; None: not known.
        seen: digests of its pairs, in the order of `circuit.pair_scores`; empty where these are not there.
        rule: how edges are chosen for sizes of the grid.
    """

    name: str
    where: str
    model: str
    task: str
    method: str
    metric: str
    circuit: Circuit
    pairs: int | None
    preferred: int | None
    seen: tuple[str, ...]
    rule: str

    @property
    def graph(self) -> EdgeGraph:
        """All edges."""
        return self.circuit.graph

    @property
    def own_size(self) -> int | None:
        """Edges of a circuit that has this size alone (ACDC's); None for one that scores give at any size."""
        return int(self.circuit.kept.sum()) if self.method == "acdc" else None

    def choose(self, scores: Floats, size: int | None) -> Bools:
        """[edge] the circuit that these scores give: of so many edges, pruned, or by the kept circuit's own rule."""
        if size is not None:
            return select(self.graph, scores, self.rule, size=size)
        about = self.circuit.about
        return select(self.graph, scores, about["selection"], size=about["size"], threshold=about["threshold"])


def asked_sizes(graph: EdgeGraph, given: Sequence[int]) -> list[int]:
    """The grid of sizes. Raises InputError for a size that the graph does not have."""
    if wrong := [size for size in given if not 1 <= size <= graph.n_edges]:
        raise InputError(f"option sizes {wrong[0]}: this graph has {graph.n_edges:,} edges; valid are 1 to that")
    if given:
        return sorted(set(given))
    size, found = max(4, min(50, graph.n_edges // 64)), []
    while size <= min(3200, graph.n_edges // 4):
        found.append(size)
        size *= 2
    return found or [graph.n_edges]


def labelled(inputs: Inputs, by_label: bool) -> list[str]:
    """[pair] the label of each pair, or nothing for each. Raises InputError where there are not two labels."""
    if not by_label:
        return [""] * len(inputs.pairs)
    labels = [pair.label for pair in inputs.pairs]
    different = sorted(set(labels))
    if len(different) < 2 or "" in different:
        raise InputError(
            f"by_label needs pairs of at least two labels, each pair with one; found {', '.join(map(repr, different))}"
        )
    return labels


def own_sides(
    model: Model, inputs: Inputs, spec: CircuitOverlapSpec, context: Context
) -> tuple[list[Side], pd.DataFrame]:
    """The circuits of the run's pairs, and the frame that `PAIRS` declares with its model first."""
    models = [(str(model.identity.as_dict()["name"]), model)]
    if spec.other_model is not None:
        models.append((f"other model {spec.other_model}", like(model, context.use("other_model"))))
    labels, sides, tables = labelled(inputs, spec.by_label), [], []
    for (name, one), inner in steps(context, models, "model"):
        aligned = [align(one, pair) for pair in inputs.pairs]
        table, metrics = pairs_table(one, aligned, spec.metric, "scored", inner)
        tables.append(table.assign(model=name))
        used = [int(place) for place in table.index[table["use"] != LEFT_OUT]]
        right = [bool(gap > 0) for gap in table["logit_diff"]]
        job = _Job(one, edge_graph(one.geometry, checked_layers(one, spec.layers)), aligned, metrics, right, spec)
        for method, deeper in steps(inner, spec.methods, "method"):
            found = job.scored(used, method, deeper)
            for label in dict.fromkeys(labels):
                rows = [row for row, place in enumerate(used) if labels[place] == label]
                if not rows:
                    raise InputError(f"no pair of label {label!r} has an effect to trace: clean and corrupted agree")
                task = f"{inputs.set_name or 'own pairs'}{': ' + label if label else ''}"
                words = [task, WORDS[method], *([name] if len(models) > 1 else [])]
                sides.append(job.side(", ".join(words), name, task, method, [used[row] for row in rows], found[rows]))
    return sides, pd.concat(tables, ignore_index=True)


def like(model: Model, other: Model) -> Model:
    """The other model. Raises InputError where it has another shape: then heads and edges do not correspond."""
    if model.geometry != other.geometry:
        mine, its = vars(model.geometry), vars(other.geometry)
        said = ", ".join(f"{key} {its[key]} instead of {mine[key]}" for key in mine if mine[key] != its[key])
        raise InputError(
            f"option other_model: heads and edges of models of different shapes do not correspond ({said}); name a "
            "checkpoint of the same architecture"
        )
    return other


@dataclass(frozen=True, eq=False)
class _Job:
    """One model's pairs."""

    model: Model
    graph: EdgeGraph
    aligned: Sequence[AlignedPair]
    metrics: Sequence[Metric]
    right: Sequence[bool]
    spec: CircuitOverlapSpec

    def scored(self, used: Sequence[int], method: Any, context: Context) -> Floats:
        how = replace(self.spec.scoring, method=method)
        chosen, read = [self.aligned[at] for at in used], [self.metrics[at] for at in used]
        return score_pairs(self.model, self.graph, chosen, read, how, context).scores

    def side(self, name: str, model: str, task: str, method: str, used: Sequence[int], scores: Floats) -> Side:
        seen = tuple(digest(self.aligned[place].pair) for place in used)
        circuit = Circuit(self.graph, scores.mean(axis=0), np.zeros(self.graph.n_edges, dtype=bool), {}, scores)
        right = sum(self.right[place] for place in used)
        return Side(name, OWN, model, task, method, self.spec.metric, circuit, len(used), right, seen,
                    self.spec.selection)  # fmt: skip


def kept_sides(model: Model, spec: CircuitOverlapSpec, context: Context) -> list[Side]:
    """The named circuits.

    Raises:
        InputError: one named twice, of a model of another shape, or of other layers than are compared.
    """
    layers = checked_layers(model, spec.layers)
    sides: list[Side] = []
    for option in NAMED:
        if getattr(spec, option) is None:
            continue
        artifact = context.use(option)
        if artifact.name in [one.name for one in sides]:
            raise InputError(f"option {option}: circuit {artifact.name!r} is named twice")
        circuit = circuit_shaped(artifact, model)
        if not circuit.kept.any():
            raise InputError(f"option {option}: circuit {artifact.name!r} has no edges: keep a larger one")
        if list(circuit.graph.layers) != list(layers):
            theirs = f"{circuit.graph.layers[0]} to {circuit.graph.layers[-1]}"
            raise InputError(f"option {option}: circuit {artifact.name!r} is of layers {theirs}; say --layers likewise")
        about, its = circuit.about, dict(artifact.meta["model"])
        name = str(its.get("name", "")) + (" (not the loaded model)" if another(artifact, model) else "")
        task, method, metric = (str(about.get(key, "")) for key in ("task", "method", "metric"))
        seen = tuple(about.get("seen") or ()) if circuit.pair_scores is not None else ()
        told = (about.get("pairs"), about.get("preferred"))
        sides.append(Side(artifact.name, KEPT, name, task, method, metric, circuit, *told, seen, spec.selection))
    return sides
