"""A kept feature graph as one number a layer: the influence of its MLP's features on the prediction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from analyses._common import beginning
from analyses._stats import Floats
from analyses.attribution_graph.tables import Told, frames_of
from analyses.circuit_agreement.scoring import Nodes
from data.graph_files import graph_of
from hooks.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data.artifacts import Artifact
    from hooks.pairs import AlignedPair

LEAST = 2
"""Fewer MLPs than that cannot be ranked."""
_BEGIN = re.compile(r"^(?:<[^<>\s]+>)+")
"""Special tokens that other tools write before a prompt."""


def of_graph(
    artifact: Artifact, pairs: Sequence[AlignedPair], layers: int, nodes: Nodes, *, errors: bool
) -> tuple[list[int], Floats]:
    """The pairs whose clean prompt the graph is of, and [node] its numbers: NaN for heads, which it does not have, and,
    unless errors count, for MLPs that had no transcoder.

    Args:
        layers: of the model.
        errors: count what transcoders miss, too.

    Raises:
        InputError: no graph, a graph of none of the clean prompts, or of a model with other layers, or one that says
            something of fewer than two of the MLPs that are compared.
    """
    graph = graph_of(artifact)
    said = str(graph.metadata["prompt"])
    mine = [place for place, one in enumerate(pairs) if _plain(one.pair.clean) == _plain(said)]
    if not mine:
        raise InputError(
            f"graph {artifact.name!r} is of the prompt {beginning(said)!r}, which is none of the clean prompts; the "
            f"first of these is {beginning(pairs[0].pair.clean)!r}: a graph says something of its own prompt alone"
        )
    table = frames_of(graph, Told(artifact.name), 1)["nodes"]
    table = table[table["kind"].isin(("feature", "error") if errors else ("feature",))]
    if len(table) and not 0 <= table["layer"].min() <= table["layer"].max() < layers:
        raise InputError(
            f"graph {artifact.name!r} has features in layer {table['layer'].max()}; this model has layers 0 to "
            f"{layers - 1}: it is of another model"
        )
    # A file that does not say which layers had transcoders is taken to have them everywhere.
    told = dict(graph.metadata.get("info") or {}).get("transcoder_layers")
    covered = range(layers) if told is None or errors else {int(layer) for layer in told}
    held = table.groupby("layer")["influence"].sum().to_dict()
    numbers = np.array([
        held.get(layer, 0.0) if kind == "mlp" and layer in covered else np.nan
        for kind, layer in nodes.frame[["kind", "layer"]].itertuples(index=False)
    ])  # fmt: skip
    if np.isfinite(numbers).sum() < LEAST:
        raise InputError(
            f"graph {artifact.name!r} has transcoders in layers {', '.join(map(str, sorted(covered)))}, in fewer than "
            f"{LEAST} of the layers compared: compare others, or count its errors (graph_errors)"
        )
    return mine, numbers


def _plain(prompt: str) -> str:
    return _BEGIN.sub("", prompt).strip()
