"""Component circuits as graphs to be drawn: layers up, heads across, the MLPs beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SIGNS = (
    "red: corrupting it harms, blue: corrupting it helps (score: estimated change of the metric when that edge is "
    "corrupted)"
)
LAST = "MLP"


def graph_axes(layers: list[int], heads: int) -> dict[str, Any]:
    """x_labels, y_labels and their titles of `analyses._plots.graph`: the embedding lowest, the logits on top."""
    return {
        "x_labels": [*(str(head) for head in range(heads)), LAST],
        "y_labels": ["embed", *(str(layer) for layer in layers), "logits"],
        "x_title": "head", "y_title": "layer",
    }  # fmt: skip


def graph_frames(nodes: pd.DataFrame, edges: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """(nodes, edges, axes) to be drawn from an analysis' own frames.

    Args:
        nodes: node, kind (embed, head, mlp, logits), layer and head (NULL where there is none), total.
        edges: those in the circuit: source, input, score and `feeds`, the heads in the circuit that an input belongs
            to, separated by commas. Several edges between two nodes (query, key, value) are summed; one into a key or
            value goes to each head of its group.
    """
    layers = sorted({int(layer) for layer in nodes["layer"].dropna()})
    heads = int(nodes["head"].dropna().max()) + 1
    row = {layer: place + 1 for place, layer in enumerate(layers)}
    ends = {"embed": 0, "logits": len(layers) + 1}
    kinds = list(zip(nodes["kind"], nodes["layer"], nodes["head"], strict=True))
    named = nodes.assign(
        row=[ends[kind] if kind in ends else row[int(layer)] for kind, layer, _ in kinds],
        column=[int(head) if kind == "head" else heads for kind, _, head in kinds],
        label=nodes["node"],
        value=nodes["total"].astype(float),
    )
    apart = edges.assign(target=edges["feeds"].str.split(",")).explode("target", ignore_index=True)
    drawn = apart.groupby(["source", "target"], sort=False)["score"].sum().rename("weight").reset_index()
    inside = named["node"].isin({*drawn["source"], *drawn["target"]})
    columns = ["node", "kind", "row", "column", "label", "value"]
    return named.loc[inside, columns].reset_index(drop=True), drawn, graph_axes(layers, heads)


def fed_names(nodes: tuple[str, ...], feeds: tuple[tuple[int, ...], ...], inside: np.ndarray) -> list[str]:
    """[input] the nodes of a circuit that each input belongs to, separated by commas; all of them where none is in."""
    found = []
    for owners in feeds:
        mine = [nodes[node] for node in owners if inside[node]] or [nodes[node] for node in owners]
        found.append(",".join(mine))
    return found
