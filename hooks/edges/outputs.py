"""What every source writes to the residual stream, kept small: head outputs before their output matrix.

Written out, one run's sources are [batch pos source d_model]; kept, they are [batch pos head d_head] a layer, and a
stretch of positions is written out when it is needed (`written`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from einops import einsum
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.edges.graph import EdgeGraph
from hooks.packed_run import Enough, taps_for
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

_STREAM = Site(0, "resid_pre")


@dataclass(frozen=True, eq=False)
class Outputs:
    """The sources' outputs in one run, or differences of two runs' (all here is linear).

    Attributes:
        embed: [batch pos d_model], the stream that enters the first block (learned positions included).
        heads: by layer [batch pos head d_head], before the output matrix (its bias belongs to no head).
        mlps: by layer [batch pos d_model], biases included.
        logits: [batch d_vocab] of the last position; None where there was no run.
    """

    embed: Tensor
    heads: dict[int, Tensor]
    mlps: dict[int, Tensor]
    logits: Tensor | None = None

    def __sub__(self, other: Outputs) -> Outputs:
        return self._joined(lambda mine, theirs: mine - theirs, other)

    def _joined(self, join: Callable[[Tensor, Tensor], Tensor], other: Outputs) -> Outputs:
        return Outputs(
            join(self.embed, other.embed),
            {layer: join(one, other.heads[layer]) for layer, one in self.heads.items()},
            {layer: join(one, other.mlps[layer]) for layer, one in self.mlps.items()},
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """The same with every tensor changed."""
        heads, mlps = ({layer: change(one) for layer, one in part.items()} for part in (self.heads, self.mlps))
        return Outputs(change(self.embed), heads, mlps)


def read_outputs(model: Model, graph: EdgeGraph, ids: Tensor) -> Outputs:
    """One forward of `ids` [batch pos]; keeps the graph's sources and the last position's logits."""
    heads, mlps = ({layer: Site(layer, kind) for layer in graph.layers} for kind in ("z", "mlp_out"))
    run = run_with_cache(model, ids, [_STREAM, *heads.values(), *mlps.values()], last_only=True)
    return Outputs(
        run[_STREAM], {layer: run[site] for layer, site in heads.items()},
        {layer: run[site] for layer, site in mlps.items()}, run.logits[:, -1],
    )  # fmt: skip


def read_pairs(model: Model, graph: EdgeGraph, clean: Tensor, corrupted: Tensor) -> tuple[Outputs, Outputs]:
    """`read_outputs` of both [batch pos] in one forward."""
    both = read_outputs(model, graph, torch.cat([clean, corrupted]))
    assert both.logits is not None
    near, far = both.each(lambda one: one[: len(clean)]), both.each(lambda one: one[len(clean) :])
    logits = both.logits.split(len(clean))
    return replace(near, logits=logits[0]), replace(far, logits=logits[1])


@torch.no_grad()
def entering(model: Model, ids: Tensor) -> Tensor:
    """[batch pos d_model] the stream that enters the first block, without running what follows."""
    found: dict[Site, Tensor] = {}
    with model.lock, hooked(taps_for(model, [_STREAM], found.__setitem__, stop=True)), suppress(Enough):
        model.module(ids.to(model.device), use_cache=False, logits_to_keep=1)
    return found[_STREAM]


@dataclass
class Watch:
    """Reads the sources' outputs off the first `rows` of a run that is made for something else."""

    model: Model
    graph: EdgeGraph
    rows: int
    heads: dict[int, Tensor] = field(default_factory=dict)
    mlps: dict[int, Tensor] = field(default_factory=dict)

    def taps(self) -> list[Callable[[], Handle]]:
        """One for each layer's heads and MLP; they only look."""
        places = [(Site(layer, kind), into, layer) for layer in self.graph.layers
                  for kind, into in (("z", self.heads), ("mlp_out", self.mlps))]  # fmt: skip
        return [partial(self._tap, *place) for place in places]

    def _tap(self, site: Site, into: dict[int, Tensor], layer: int) -> Handle:
        def look(activation: Tensor) -> None:
            into[layer] = activation[: self.rows].detach().clone()

        return tap(self.model.module, self.model.anatomy, self.model.geometry, site, look)


def written(model: Model, graph: EdgeGraph, outputs: Outputs, positions: slice = slice(None)) -> Tensor:
    """[batch pos source d_model] in fp32: what each source writes at a stretch of positions."""
    embed = outputs.embed[:, positions].float()
    whole = embed.new_zeros(*embed.shape[:2], len(graph.sources), embed.shape[-1])
    whole[:, :, 0] = embed
    heads = graph.geometry.n_heads
    for place, layer in enumerate(graph.layers):
        first = 1 + place * (heads + 1)
        form = "batch pos head e, head e d -> batch pos head d"
        z = outputs.heads[layer][:, positions].float()
        whole[:, :, first : first + heads] = einsum(z, model.W_O(layer).float(), form)
        whole[:, :, first + heads] = outputs.mlps[layer][:, positions]
    return whole


def mean_outputs(runs: Sequence[Outputs]) -> Outputs:
    """The mean over all prompts and positions of several runs, as [1 1 …]: one vector a source, at every position."""

    def mean(parts: Sequence[Tensor]) -> Tensor:
        flat = torch.cat([one.flatten(0, 1).double() for one in parts])
        return flat.mean(dim=0)[None, None].to(parts[0].dtype)

    layers = runs[0].heads
    return Outputs(
        mean([run.embed for run in runs]), {layer: mean([run.heads[layer] for run in runs]) for layer in layers},
        {layer: mean([run.mlps[layer] for run in runs]) for layer in layers},
    )  # fmt: skip


def at_every_position(outputs: Outputs, like: Outputs) -> Outputs:
    """`mean_outputs`' [1 1 …] spread over the prompts and positions of `like`."""
    batch, pos = like.embed.shape[:2]
    return outputs.each(lambda one: one.expand(batch, pos, *one.shape[2:]))


def zero_outputs(like: Outputs) -> Outputs:
    """Nothing written by any source, in the shape of `like`."""
    return like.each(torch.zeros_like)


def source_groups(graph: EdgeGraph, near: Outputs, change: Outputs) -> list[tuple[Site, Tensor, Tensor, slice]]:
    """(site, outputs, their change, sources) of each group in one site: the embedding, a layer's heads, an MLP."""
    found = [(_STREAM, near.embed, change.embed, slice(0, 1))]
    heads = graph.geometry.n_heads
    for place, layer in enumerate(graph.layers):
        first = 1 + place * (heads + 1)
        last = first + heads
        found.append((Site(layer, "z"), near.heads[layer], change.heads[layer], slice(first, last)))
        found.append((Site(layer, "mlp_out"), near.mlps[layer], change.mlps[layer], slice(last, last + 1)))
    return found
