"""Influence, pruning and scores of an attribution graph; pure functions of its edges.

A graph's `rows` are [target node] signed edges A, rows of targets alone; `targets` [target] says which node each row is
of. Other nodes have no incoming edges: errors and tokens. N = |A| with rows that sum to 1.

    influence = wN + wN² + … = w((I − N)⁻¹ − I),    w = probabilities at the logits, else 0
    replacement score  = inf(tokens) / (inf(tokens) + inf(errors))
    completeness score = Σ_t (1 − Σ_{s∈errors} N[t,s])·(inf + w)[t] / Σ_t (inf + w)[t]

Source: circuit-tracer (Ameisen et al. 2025); formulas in METHODS.md § 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.errors import InputError

TINY = 1e-10
"""Rows of a smaller sum stay small instead of being blown up to 1."""


def shares(rows: Tensor) -> Tensor:
    """N, [target node]: |A| over the sum of its row."""
    sizes = rows.abs()
    return sizes.div_(sizes.sum(dim=1, keepdim=True).clamp_min(TINY))


def influence(share: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """[node] how much of the logits' weight [node] flows back to each node along all paths.

    Raises InputError for a graph with a cycle, along which influence would go round for ever.
    """
    now, total = weight, torch.zeros_like(weight)
    for _ in range(len(weight) + 1):
        now = now[targets] @ share
        if not bool(now.any()):
            return total
        total = total + now
    raise InputError("the graph has a cycle: influence has no end in it")


def cumulative(values: Tensor) -> Tensor:
    """[node] share of the sum that a node and all larger ones hold together; 1 for all of nothing."""
    order = values.argsort(descending=True, stable=True)
    held = values[order].double().cumsum(0)
    result = torch.ones_like(held)
    if bool(held[-1] > 0):
        result[order] = held / held[-1]
    return result.to(values.dtype)


def kept_to(values: Tensor, share: float) -> Tensor:
    """[…] bool: the largest values, until together they reach a share of the sum; none that are 0."""
    flat = values.flatten()
    held = flat.sort(descending=True, stable=True)
    reached = held.values.double().cumsum(0)
    if not len(flat) or float(reached[-1]) == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    count = int(torch.searchsorted(reached, share * reached[-1] * (1 - 1e-12))) + 1
    floor = held.values[min(count, len(flat)) - 1]
    return (values >= floor) & (values > 0)


@dataclass(frozen=True, eq=False)
class Pruned:
    """What is left: `nodes` [kept] places, rising, and of every edge [edge] its `target`, `source` and `weight`."""

    nodes: Tensor
    target: Tensor
    source: Tensor
    weight: Tensor


def prune(
    rows: Tensor, targets: Tensor, weight: Tensor, always: Tensor, node_share: float, edge_share: float
) -> Pruned:
    """Keep the nodes that hold `node_share` of the influence, then the edges that hold `edge_share` of what is left.

    Nodes in `always` [node] (tokens and logits) stay. Others without an outgoing edge go, and those of the targets
    without an incoming one, until nothing changes.
    """
    nodes = kept_to(influence(shares(rows), targets, weight), node_share) | always
    # Everything after the first choice is about the nodes left: a graph of these alone is small.
    place = nodes.nonzero().flatten()
    left = rows[nodes[targets]][:, place]
    at = torch.searchsorted(place, targets[nodes[targets]])
    share = shares(left)
    flow = influence(share, at, weight[place]) + weight[place]
    edges = kept_to(share * flow[at, None], edge_share)
    receives = torch.zeros(len(place), dtype=torch.bool).index_fill(0, at, True)
    stay = torch.ones_like(receives)
    while True:
        edges = edges & stay[at, None] & stay
        reached = ~receives
        reached[at] = edges.any(dim=1)
        now = stay & (always[place] | (edges.any(dim=0) & reached))
        if bool((now == stay).all()):
            break
        stay = now
    target, source = edges.nonzero(as_tuple=True)
    return Pruned(place[stay], place[at[target]], place[source], left[target, source])


def scores(share: Tensor, targets: Tensor, weight: Tensor, errors: Tensor, tokens: Tensor) -> tuple[float, float]:
    """(replacement, completeness), each 0 to 1, for masks [node]; NaN where no influence reaches anything."""
    found = influence(share, targets, weight)
    from_tokens, from_errors = float(found[tokens].sum()), float(found[errors].sum())
    whole = from_tokens + from_errors
    flow = found + weight
    # Rows of errors and tokens are 0: all that arrives there counts as accounted for.
    told = torch.ones_like(flow)
    told[targets] = 1 - share[:, errors].sum(dim=1)
    replacement = from_tokens / whole if whole else float("nan")
    return replacement, float((told * flow).sum() / flow.sum()) if bool(flow.any()) else float("nan")
