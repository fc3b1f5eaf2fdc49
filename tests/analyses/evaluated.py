"""Small runs of circuit evaluation, and kept circuits with random scores."""

from __future__ import annotations

import numpy as np

from analyses._circuits.kept import KIND, Circuit, contents
from analyses._circuits.pairs import digest
from analyses._circuits.selection import select
from analyses._contract import Context, Frames, Inputs
from analyses.circuit_evaluation import ANALYSIS, EvaluationSpec
from analyses.circuit_evaluation.computing import run
from data.artifacts import Artifact
from hooks.edges import edge_graph
from hooks.model import Model
from hooks.pairs import PromptPair

THIRD = PromptPair(
    "When Tom and Lisa went to the bank, Tom gave a ring to",
    "When Tom and Lisa went to the bank, Lisa gave a ring to",
    " Lisa",
    " Tom",
)
SMALL = {"sizes": [30, 60], "steps": 2, "draws": 2, "nodes_out": 2, "selection": "greedy"}


def frames(model: Model, *pairs: PromptPair, artifact: Artifact | None = None, **spec: object) -> Frames:
    given = EvaluationSpec.model_validate(SMALL | spec)
    return run(model, Inputs(pairs=pairs), given, Context(use=lambda _field: artifact))


def notes(found: Frames, figure: str = "faithfulness", **spec: object) -> str:
    drawn = ANALYSIS.figures(found, EvaluationSpec.model_validate(SMALL | spec))[figure]
    return " ".join(drawn.layout.meta["notes"])


def kept(model: Model, *seen: PromptPair, method: str = "eap") -> tuple[Artifact, Circuit]:
    graph = edge_graph(model.geometry)
    scores = np.random.default_rng(0).normal(size=graph.n_edges)
    about = {"method": method, "seen": [digest(one) for one in seen], "pairs": len(seen)}
    circuit = Circuit(graph, scores, select(graph, scores, "greedy", size=45), about)
    tensors, meta = contents(model, circuit)
    return Artifact("c", KIND, meta, tensors, "r"), circuit
