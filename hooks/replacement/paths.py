"""Order of a graph's nodes, and its strongest paths."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from hooks.errors import InputError


@dataclass(frozen=True)
class Path:
    """Nodes from start to logit, and the path's share of all influence: the product of the shares of its edges."""

    nodes: tuple[int, ...]
    share: float


def ordered(count: int, edges: Sequence[tuple[int, int]], names: Sequence[str] | None = None) -> list[int]:
    """Nodes so that every edge (source, target) goes from an earlier to a later one.

    Raises InputError for a cycle, naming its nodes.
    """
    after: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        after[source].append(target)
        waiting[target] += 1
    ready = [node for node in range(count) if not waiting[node]]
    for node in ready:  # grows on the way
        for target in after[node]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if len(ready) < count:
        said = " → ".join(names[node] if names else str(node) for node in _cycle(after, waiting))
        raise InputError(f"the graph has a cycle, an attribution graph has none: {said}")
    return ready


def _cycle(after: list[list[int]], waiting: list[int]) -> list[int]:
    """One cycle among the nodes that were never ready, closed."""
    before: dict[int, int] = {}
    for source, targets in enumerate(after):
        if waiting[source]:
            before |= {target: source for target in targets if waiting[target]}
    walked = [next(node for node, left in enumerate(waiting) if left)]
    while walked[-1] not in walked[:-1]:
        walked.append(before[walked[-1]])
    return walked[walked.index(walked[-1]) :][::-1]


def strongest(
    count: int, edges: Sequence[tuple[int, int, float]], weight: dict[int, float], starts: set[int], most: int
) -> list[Path]:
    """The `most` paths of the largest share from `starts` to the nodes of `weight` (logits and their probabilities).

    Args:
        count: nodes.
        edges: (source, target, share of what comes into the target).
    """
    incoming: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    for source, target, share in edges:
        incoming[target].append((source, share))
    best: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in range(count)]
    for node, one in weight.items():
        best[node].append((one, (node,)))
    for node in reversed(ordered(count, [(source, target) for source, target, _ in edges])):
        best[node] = heapq.nlargest(most, best[node])
        for source, share in incoming[node]:
            best[source] += [(value * share, (source, *nodes)) for value, nodes in best[node] if value * share > 0]
    found = heapq.nlargest(most, (one for node in starts for one in best[node]))
    return [Path(nodes, value) for value, nodes in found]
