"""Gradients of a metric at every input, summed over several runs and kept small until they are written out.

A query head h reads q = W_hᵀ n(x), n the norm, so its own gradient at the stream x follows from the one at q. With
x̂ = (x − mean)/σ (without the mean for RMSNorm), w the norm's weight and g = ∂m/∂q:

    ∂m/∂x = centre(w ∘ (W_h g) − x̂ · c) / σ,   c = mean over d_model of x̂ ∘ w ∘ (W_h g) = (q − W_hᵀ b − b_Q) · g / d

c needs no product with W. Summed over runs, the first part is one product with Σ g/σ and the second is of low rank:
what is kept is [pos head d_head] a layer, and [pos d_model] and [pos head] a layer and run. The same for k and v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from einops import einsum, reduce
from torch import Tensor

from hooks.edges.graph import EdgeGraph
from hooks.edges.inputs import BIASES, WEIGHTS, after_norm, before_norm
from hooks.edges.reading import Rows
from hooks.errors import InputError
from hooks.norms import Norm
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

Place = tuple[int | None, str]
"""A layer and q, k, v or mlp; (None, "logits")."""
_NORM = {"q": "ln1", "k": "ln1", "v": "ln1", "mlp": "ln2", "logits": ""}


@dataclass
class Slopes:
    """Gradients at the inputs of a graph, summed over the runs that `add_runs` made; `points` counts them."""

    graph: EdgeGraph
    points: int = 0
    heads: dict[Place, Tensor] = field(default_factory=dict)
    shares: dict[Place, list[Tensor]] = field(default_factory=dict)
    directions: dict[int, list[Tensor]] = field(default_factory=dict)
    whole: dict[Place, Tensor] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """How much is kept."""
        lists = [*self.shares.values(), *self.directions.values(), [*self.heads.values(), *self.whole.values()]]
        return sum(one.numel() * one.element_size() for part in lists for one in part)


def add_runs(
    model: Model, slopes: Slopes, ids: Tensor, metric: Rows, start: Site, values: Sequence[Tensor], places: list[Place],
    also: Sequence[Callable[[], Handle]] = (),
) -> Tensor:  # fmt: skip
    """A forward and a backward for each of several values of one site, as one batch, added to the sums.

    Args:
        ids: [batch pos] token ids.
        start: where the graph of gradients begins; what comes before it is the run of `ids`.
        values: each [batch pos …], the whole activation that is put there.
        places: the inputs whose gradients are wanted, all after that (`places_after`); others stay as they are.
        also: further taps of the same forward.

    Returns:
        [run·batch d_vocab] logits of the last position.

    Raises:
        InputError: the metric does not depend on what the run computes, or is not finite.
    """
    seen: dict[Place, Tensor] = {}
    wanted: dict[Place, Tensor] = {}
    taps = [_tap(model, start, partial(_leaf, torch.cat(list(values))))]
    for place in places:
        taps += _watch(model, place, seen, wanted)
    taps += also
    with model.lock, torch.enable_grad(), hooked(taps):
        many = ids.repeat(len(values), 1).to(model.device)
        logits = model.module(many, use_cache=False, logits_to_keep=1).logits[:, -1]
        found = torch.cat([metric(part) for part in logits.split(len(ids))])
        if not bool(torch.isfinite(found.detach()).all()):
            raise InputError("the metric is not a finite number on the way between the prompts")
        if not found.requires_grad:
            raise InputError("the metric does not depend on what the run computes: it has no gradient")
        gradients = torch.autograd.grad(found.sum(), list(wanted.values()), allow_unused=True)
    for (place, there), gradient in zip(wanted.items(), gradients, strict=True):
        slope = torch.zeros_like(there) if gradient is None else gradient
        _add(model, slopes, place, there.detach(), slope, seen[(place[0], _NORM[place[1]])], len(ids))
    slopes.points += len(values)
    return logits.detach()


def places_after(graph: EdgeGraph, source: int) -> list[Place]:
    """The places of all inputs that are computed after a source (its number), in order of computation."""
    found = [(one.layer, str(one.kind)) for one in graph.inputs if graph.before(one) > source]
    return list(dict.fromkeys(found))


def written_slopes(model: Model, slopes: Slopes, positions: slice = slice(None)) -> Tensor:
    """[batch pos input d_model] in fp32: the summed gradients at a stretch of positions."""
    graph = slopes.graph
    like = slopes.whole[(None, "logits")][:, positions]
    whole = like.new_zeros(*like.shape[:2], len(graph.inputs), like.shape[-1])
    groups: dict[Place, list[int]] = {}
    for number, one in enumerate(graph.inputs):
        groups.setdefault((one.layer, one.kind), []).append(number)
    for place, numbers in groups.items():
        if place in slopes.whole:
            whole[:, :, numbers[0]] = slopes.whole[place][:, positions]
        elif place in slopes.heads:
            whole[:, :, numbers[0] : numbers[-1] + 1] = _head_slopes(model, slopes, place, positions)
    return whole


def _head_slopes(model: Model, slopes: Slopes, place: Place, positions: slice) -> Tensor:
    layer, kind = place
    assert layer is not None
    norm = model.norm(layer, "ln1")
    straight = einsum(
        slopes.heads[place][:, positions], WEIGHTS[kind](model, layer).float(),
        "batch pos head e, head d e -> batch pos head d",
    ) * norm.weight  # fmt: skip
    directions = torch.stack([one[:, positions] for one in slopes.directions[layer]])
    shares = torch.stack([one[:, positions] for one in slopes.shares[place]])
    bent = einsum(directions, shares, "run batch pos d, run batch pos head -> batch pos head d")
    return norm.centre(straight - bent)


def _watch(
    model: Model, place: Place, seen: dict[Place, Tensor], wanted: dict[Place, Tensor]
) -> list[Callable[[], Handle]]:
    """Keep what the place's norm reads, and the tensor whose gradient is wanted: q, k, v, or what the norm gives."""
    layer, kind = place
    which = _NORM[kind]

    def read(stream: Tensor) -> None:
        seen[(layer, which)] = stream.detach()

    def keep(activation: Tensor) -> Tensor:
        wanted[place] = activation
        return activation

    found = [] if kind in ("k", "v") else [before_norm(model, layer, which, read)]
    if kind in WEIGHTS:
        return [*found, _tap(model, Site(layer, kind), keep)]
    return [*found, after_norm(model, layer, which, keep)]


def _add(
    model: Model, slopes: Slopes, place: Place, there: Tensor, gradient: Tensor, stream: Tensor, batch: int
) -> None:
    layer, kind = place
    norm = model.norm(layer, _NORM[kind])
    scale = norm.scale(stream)
    # Queries come first, and keys and values read the same stream.
    if kind in ("q", "mlp", "logits"):
        direction = norm.centre(stream.float()) / scale
    if kind not in WEIGHTS:
        back = gradient.float() * norm.weight
        bent = direction * (back * direction).mean(dim=-1, keepdim=True)
        _sum(slopes.whole, place, norm.centre(back - bent) / scale, batch)
        return
    assert layer is not None
    if kind == "q":
        slopes.directions.setdefault(layer, []).extend(direction.split(batch))
    per_head = gradient.float() / scale[..., None]
    share = ((there.float() - _offset(model, norm, layer, kind)) * per_head).sum(dim=-1) / stream.shape[-1]
    slopes.shares.setdefault(place, []).extend(share.split(batch))
    _sum(slopes.heads, place, per_head, batch)


def _offset(model: Model, norm: Norm, layer: int, kind: str) -> Tensor | float:
    """[head d_head] what q, k or v is for a stream of nothing: the biases of the norm and of the projection."""
    bias = BIASES[kind](model, layer)
    found: Tensor | float = 0.0 if bias is None else bias.float()
    if norm.bias is not None:
        found = found + einsum(norm.bias, WEIGHTS[kind](model, layer).float(), "d, head d e -> head e")
    return found


def _sum(into: dict[Place, Tensor], place: Place, value: Tensor, batch: int) -> None:
    total = value if len(value) == batch else reduce(value, "(run batch) ... -> batch ...", "sum", batch=batch)
    into[place] = into[place] + total if place in into else total


def _leaf(value: Tensor, activation: Tensor) -> Tensor:
    return value.to(activation).detach().requires_grad_()


def _tap(model: Model, site: Site, edit: Callable[[Tensor], Tensor | None]) -> Callable[[], Handle]:
    return lambda: tap(model.module, model.anatomy, model.geometry, site, edit)
