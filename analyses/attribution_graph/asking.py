"""What a clicked node of the graph tells, and how it is ablated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses._contract import Frames

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec

MOST = 20
"""Edges that are listed."""
MEASURED = ("target_label", "before", "direct", "held", "total", "responding", "free")
ONLY_ONCE = {"keep_as", "replace", "ablate"}
"""Options of the run that another run does not take over."""


def detail(
    frames: Frames, _spec: AttributionGraphSpec, figure: str, node: str, _row: str
) -> pd.DataFrame | None:  # fmt: skip
    """What happened when the node was taken away, by target; its strongest edges where it was not."""
    if figure != "graph":
        return None
    found = frames["interventions"]
    found = found[found["source"] == node]
    if not found.empty:
        return found[list(MEASURED)].rename(columns={"target_label": "ablated: change of"}).reset_index(drop=True)
    edges = frames["edges"]
    edges = edges[(edges["source"] == node) | (edges["target"] == node)]
    return edges.nlargest(MOST, "influence").reset_index(drop=True) if len(edges) else None


def act(frames: Frames, spec: AttributionGraphSpec, node: str) -> tuple[str, Mapping[str, Any]] | None:
    """The same graph with the node among those that are taken away; None for next tokens and kept graphs."""
    kinds = frames["nodes"].set_index("node")["kind"]
    # A kept graph is there without its transcoders, a next token writes nothing.
    if spec.graph is not None or kinds.get(node, "logit") == "logit":
        return None
    given = spec.model_dump(mode="json", exclude_defaults=True, exclude=ONLY_ONCE | spec.display_fields())
    others = [one for one in spec.ablate if one != node]
    return "attribution_graph", given | {"ablate": [*others, node], "focus": node}
