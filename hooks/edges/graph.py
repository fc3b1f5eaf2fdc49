"""The graph of a model's components: what writes to the residual stream, what reads it, and every edge between.

Sources are the embedding, heads (`L9H6`) and MLPs (`MLP9`); inputs are each head's query (`L9H6.q`), each key/value
head's key and value (`L9G2.k`, `L9G2.v`), MLPs (`MLP9`) and the logits. An edge leads from a source to an input that is
computed after it. A parallel block's MLP reads what its attention reads, so it does not hear the heads of its layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from hooks.errors import InputError, unknown
from hooks.geometry import Geometry

EMBED, LOGITS = "embed", "logits"
SourceKind = Literal["embed", "head", "mlp"]
InputKind = Literal["q", "k", "v", "mlp", "logits"]


@dataclass(frozen=True)
class Source:
    """What writes to the residual stream; `layer` is None for the embedding, `head` for all but heads."""

    kind: SourceKind
    layer: int | None = None
    head: int | None = None

    @property
    def name(self) -> str:
        """`embed`, `L9H6` or `MLP9`."""
        if self.kind == "embed":
            return EMBED
        return f"MLP{self.layer}" if self.kind == "mlp" else f"L{self.layer}H{self.head}"

    @property
    def stage(self) -> tuple[int, int]:
        """What has a greater one is computed later."""
        return (-1, 0) if self.layer is None else (self.layer, 1 if self.kind == "head" else 3)


@dataclass(frozen=True)
class Input:
    """What reads the residual stream; `head` is a query head for q, a key/value head for k and v, else None."""

    kind: InputKind
    layer: int | None = None
    head: int | None = None

    @property
    def name(self) -> str:
        """`L9H6.q`, `L9G2.k`, `L9G2.v`, `MLP9` or `logits`."""
        if self.kind == "logits":
            return LOGITS
        if self.kind == "mlp":
            return f"MLP{self.layer}"
        return f"L{self.layer}{'H' if self.kind == 'q' else 'G'}{self.head}.{self.kind}"


@dataclass(frozen=True)
class EdgeGraph:
    """All sources, inputs and edges of some layers of a model; what is in other layers always runs as it does.

    Edges are ordered by input, then by source, both in the order of computation; `[edge]` tensors follow that order.
    """

    geometry: Geometry
    layers: tuple[int, ...]

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The embedding, then each layer's heads and its MLP."""
        found = [Source("embed")]
        for layer in self.layers:
            found += [Source("head", layer, head) for head in range(self.geometry.n_heads)]
            found.append(Source("mlp", layer))
        return tuple(found)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Each layer's queries, keys, values and MLP, then the logits."""
        found = []
        for layer in self.layers:
            found += [Input("q", layer, head) for head in range(self.geometry.n_heads)]
            found += [Input("k", layer, group) for group in range(self.geometry.n_key_value_heads)]
            found += [Input("v", layer, group) for group in range(self.geometry.n_key_value_heads)]
            found.append(Input("mlp", layer))
        return (*found, Input("logits"))

    @cached_property
    def edges(self) -> Tensor:
        """[edge 2]: the source's and the input's number, for every source computed before the input."""
        reach = [self.before(one) for one in self.inputs]
        pairs = [(source, place) for place, count in enumerate(reach) for source in range(count)]
        return torch.tensor(pairs)

    def before(self, one: Input) -> int:
        """How many sources are computed before an input; they are the first ones."""
        heads = self.geometry.n_heads
        if one.layer is None:
            return len(self.sources)
        earlier = 1 + self.layers.index(one.layer) * (heads + 1)
        return earlier + (heads if one.kind == "mlp" and not self.geometry.parallel_blocks else 0)

    def places(self, layer: int) -> dict[str, slice]:
        """The numbers of a layer's inputs by kind; q, k and v follow one another."""
        found: dict[str, list[int]] = {}
        for number, one in enumerate(self.inputs):
            if one.layer == layer:
                found.setdefault(one.kind, []).append(number)
        return {kind: slice(numbers[0], numbers[-1] + 1) for kind, numbers in found.items()}

    @property
    def n_edges(self) -> int:
        """How many edges there are."""
        return len(self.edges)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of the sources and, last, the logits."""
        return (*(one.name for one in self.sources), LOGITS)

    @cached_property
    def edge_names(self) -> tuple[str, ...]:
        """[edge] names such as `L5H5->L9H6.q`."""
        writers, readers = self.nodes, [one.name for one in self.inputs]
        return tuple(f"{writers[source]}->{readers[place]}" for source, place in self.edges.tolist())

    @cached_property
    def feeds(self) -> tuple[tuple[int, ...], ...]:
        """[input] numbers (in `nodes`) of what an input belongs to: of a key or value all query heads of its group."""
        place = {name: index for index, name in enumerate(self.nodes)}
        per = self.geometry.queries_per_group
        found: list[tuple[int, ...]] = []
        for one in self.inputs:
            if one.kind in ("mlp", "logits"):
                found.append((place[one.name],))
            else:
                assert one.head is not None
                heads = [one.head] if one.kind == "q" else range(one.head * per, (one.head + 1) * per)
                found.append(tuple(place[f"L{one.layer}H{head}"] for head in heads))
        return tuple(found)

    def matrix(self, values: Tensor) -> Tensor:
        """[… source input] from [… edge] values; zero where there is no edge."""
        whole = values.new_zeros(*values.shape[:-1], len(self.sources), len(self.inputs))
        whole[..., self.edges[:, 0], self.edges[:, 1]] = values
        return whole

    def of_matrix(self, whole: Tensor) -> Tensor:
        """[… edge] values from [… source input]."""
        return whole[..., self.edges[:, 0].to(whole.device), self.edges[:, 1].to(whole.device)]

    def numbers(self, names: Iterable[str]) -> Tensor:
        """Numbers of edges given by name. Raises InputError for one that is not there, offering near ones."""
        known = {name: number for number, name in enumerate(self.edge_names)}
        wanted = list(names)
        for name in wanted:
            if name not in known:
                raise unknown("edge", name, self.edge_names)
        return torch.tensor([known[name] for name in wanted], dtype=torch.long)


def edge_graph(geometry: Geometry, layers: Sequence[int] | None = None) -> EdgeGraph:
    """The graph of all layers, or of some. Raises InputError for a layer that is not there, or none."""
    chosen = tuple(range(geometry.n_layers)) if layers is None else tuple(sorted(set(layers)))
    for layer in chosen:
        if not 0 <= layer < geometry.n_layers:
            raise InputError(f"layer {layer} does not exist: valid layers are 0 to {geometry.n_layers - 1}")
    if not chosen:
        raise InputError("a graph needs at least one layer")
    return EdgeGraph(geometry, chosen)
