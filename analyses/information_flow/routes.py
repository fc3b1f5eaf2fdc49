"""The routes of one prediction: a search from its last residual down, over the parts that account for it.

Nodes: `E5` the residual that enters the first block at position 5, `A3.5` the residual after layer 3's attention,
`F3.5` what its MLP adds, `R3.5` the residual after the block. Where attention and MLP run in parallel there is no A:
the residual that enters the block, the heads and the MLP are the parts of one sum, the residual that leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from analyses.information_flow.contributions import attended, cut, proximity
from analyses.information_flow.reading import Block

Row = dict[str, Any]


def stream(layer: int, position: int) -> str:
    """The node of the residual after a layer, −1 for that before the first."""
    return f"E{position}" if layer < 0 else f"R{layer}.{position}"


@dataclass(eq=False)
class Routes:
    """What has been reached: `flow` is the share of the prediction that runs through a node, over all routes; `best`
    the largest product of shares along one route from the node up, `onward` that route's next node.
    """

    threshold: float
    renormalise: bool
    flow: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    onward: dict[str, tuple[str, str]] = field(default_factory=dict)
    edges: list[Row] = field(default_factory=list)
    heads: list[Row] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def start(self, node: str) -> None:
        """The prediction's own node."""
        self.flow[node] = self.best[node] = 1.0

    def add(self, source: str, target: str, kind: str, weight: float, at: Row, *, whole: bool = False) -> None:
        """An edge down to `source`; `whole` says that all of the source goes on, as into an MLP."""
        factor = 1.0 if whole else weight
        self.flow[source] = self.flow.get(source, 0.0) + self.flow[target] * factor
        if self.best[target] * factor > self.best.get(source, -1.0):
            self.best[source], self.onward[source] = self.best[target] * factor, (target, kind)
        self.edges.append({"source": source, "target": target, "kind": kind, "weight": weight, **at})

    def parts(self, near: Tensor) -> Tensor:
        """Shares of parts with these proximities, [dst part]: with renormalisation those at or below the threshold are
        0 and the others sum to 1.
        """
        share = near / near.sum(dim=-1, keepdim=True)
        return cut(share, self.threshold) if self.renormalise else share

    def kept(self, weight: float) -> bool:
        """Whether an edge of this weight belongs to the routes."""
        return weight > (0.0 if self.renormalise else self.threshold)

    def down(self, block: Block, positions: Iterable[int]) -> list[int]:
        """Go through a block from the residuals that leave it; the positions of those that enter it and matter."""
        reached = sorted(positions)
        return self._parallel(block, reached) if block.middle is None else self._sequential(block, reached)

    def _sequential(self, block: Block, reached: list[int]) -> list[int]:
        assert block.middle is not None
        whole, ffn = block.after[reached], block.ffn()[reached]
        near = torch.stack([proximity(whole, block.middle[reached]), proximity(whole, ffn)], dim=-1)
        attending = []
        for place, (rest, mlp) in zip(reached, self.parts(near).tolist(), strict=True):
            after, between = f"R{block.layer}.{place}", f"A{block.layer}.{place}"
            at = {"layer": block.layer, "source_position": place, "target_position": place}
            before = len(self.edges)
            if self.kept(mlp):
                self._through(block.layer, place, between, after, mlp)
            if self.kept(rest):
                self.add(between, after, "residual", rest, at)
            if len(self.edges) > before:
                attending.append(place)
            else:
                self.ended.append(after)
        return self._attend(block, attending, block.middle, "A", None)

    def _parallel(self, block: Block, reached: list[int]) -> list[int]:
        return self._attend(block, reached, block.after, "R", block.ffn())

    def _through(self, layer: int, place: int, source: str, target: str, share: float) -> None:
        """From a residual through the MLP to another."""
        at = {"layer": layer, "source_position": place, "target_position": place}
        self.add(f"F{layer}.{place}", target, "FFN", share, at)
        self.add(source, f"F{layer}.{place}", "FFN", share, at, whole=True)

    def _attend(
        self, block: Block, reached: list[int], wholes: Tensor, name: str, ffn: Tensor | None
    ) -> list[int]:  # fmt: skip
        """From sums that attention is a part of down to what enters the block: the residual and every (head, key)."""
        if not reached:
            return []
        whole, pattern = wholes[reached], block.pattern[:, reached]
        heads = attended(whole, pattern, block.written).flatten(1)
        rest = [proximity(whole, block.before[reached])]
        rest += [] if ffn is None else [proximity(whole, ffn[reached])]
        share = self.parts(torch.cat([torch.stack(rest, dim=-1), heads], dim=-1))
        found: set[int] = set()
        for place, row in zip(reached, share, strict=True):
            by_head = row[len(rest) :].view(pattern.shape[0], -1)
            target, below = f"{name}{block.layer}.{place}", stream(block.layer - 1, place)
            at = {"layer": block.layer, "source_position": place, "target_position": place}
            before = len(self.edges)
            if ffn is not None and self.kept(float(row[1])):
                self._through(block.layer, place, below, target, float(row[1]))
                found.add(place)
            if self.kept(float(row[0])):
                self.add(below, target, "residual", float(row[0]), at)
                found.add(place)
            found |= self._keys(block.layer, target, place, by_head)
            if len(self.edges) == before:
                self.ended.append(target)
        return sorted(found)

    def _keys(self, layer: int, target: str, place: int, by_head: Tensor) -> set[int]:
        """Edges to the keys that a destination attends to, each the sum over heads, and the heads of each."""
        found = set()
        for key, weight in enumerate(by_head.sum(dim=0).tolist()):
            if not self.kept(weight):
                continue
            at = {"layer": layer, "source_position": key, "target_position": place}
            source = stream(layer - 1, key)
            self.add(source, target, "attention", weight, at)
            found.add(key)
            self.heads += [
                {"source": source, "target": target, **at, "head": head, "share": share,
                 "flow": share * self.flow[target]}
                for head, share in enumerate(by_head[:, key].tolist()) if share > 0
            ]  # fmt: skip
        return found

    def path(self, node: str) -> str:
        """The strongest route from a node up, its blocks in words; the residual stream in between goes unsaid."""
        said = []
        while node in self.onward:
            node, kind = self.onward[node]
            if kind == "attention":
                where = node[1:].split(".")
                said.append(f"attention L{where[0]} to {where[1]}")
            elif kind == "FFN" and node.startswith("F"):
                said.append(f"FFN L{node[1:].split('.')[0]}")
        return ", ".join(said) or "residual stream alone"
