"""The display options of a graph, mixed into the options of every analysis that draws one."""

from __future__ import annotations

from typing import Literal

from analyses._spec import Spec, shown


class GraphView(Spec):
    """What of a graph is drawn; nothing here changes a number."""

    most_edges: int = shown(
        200, ge=1, le=5000, description="edges drawn at most: the strongest, or those that hang on the focus"
    )
    least_weight: float = shown(0.0, ge=0.0, description="edges with a weight smaller than this in size are left out")
    direction: Literal["both", "upstream", "downstream"] = shown(
        "both", description="with a focus: what leads to it (upstream), what it leads to (downstream), or both"
    )
    focus: str | None = shown(
        None, min_length=1, description="a node's id, to see only what hangs on it; none means the whole graph"
    )
    pinned: tuple[str, ...] = shown((), description="ids of nodes that are drawn whatever is left out")
    hidden_kinds: tuple[str, ...] = shown((), description="kinds of nodes to leave out; none means all are drawn")
