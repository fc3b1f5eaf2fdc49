"""Which channels are outliers, and which are set against them: random ones, and victims with weights alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._activations import Kind
from analyses.outlier_channels.reading import Reading
from hooks.weights import W_gate, W_in

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class Outliers:
    """Mean |x| [layer channel] over all tokens, that over the layer's median channel, and which are outliers."""

    mean: Tensor
    times: Tensor
    chosen: Tensor


def outliers(reading: Reading, factor: float) -> Outliers:
    """Channels whose mean |x| is more than `factor` times that of their layer's median channel."""
    mean = reading.sizes.sum(dim=0) / reading.tokens.sum()
    times = mean / mean.median(dim=-1, keepdim=True).values.clamp(min=torch.finfo(torch.float64).tiny)
    return Outliers(mean, times, times > factor)


def reading_norms(model: Model, layer: int, kind: Kind) -> Tensor:
    """[channel] how strongly what comes next reads each channel: the norm of its row of the next weights.

    Neurons (`mlp_post`) are read by W_out. Streams and what is added to them are read, weights of the norms folded in,
    by the next attention's W_Q, W_K, W_V and the next MLP's W_in and W_gate; after the last layer by the unembedding.
    """
    if kind == "mlp_post":
        return model.W_out(layer).double().norm(dim=-1).cpu()
    if kind in ("attn_out", "resid_mid") and not model.geometry.parallel_blocks:
        return _squares(model, layer, attention=False).sqrt()
    place = layer if kind == "resid_pre" else layer + 1
    if place == model.geometry.n_layers:
        rows = model.W_U.double().square().sum(dim=-1).sqrt()
        return (rows * model.norm(None).weight.double().abs()).cpu()
    return (_squares(model, place, attention=True) + _squares(model, place, attention=False)).sqrt()


def _squares(model: Model, layer: int, *, attention: bool) -> Tensor:
    """[channel] squared norm of each channel's row in the weights of one layer's attention, or of its MLP."""
    if attention:
        weights = [part.transpose(0, 1).flatten(1) for part in (model.W_Q(layer), model.W_K(layer), model.W_V(layer))]
    else:
        gate = W_gate(model, layer)
        weights = [W_in(model, layer), *([] if gate is None else [gate])]
    scale = model.norm(layer, "ln1" if attention else "ln2").weight.double()
    return sum((one.double().square().sum(dim=-1) for one in weights), torch.zeros_like(scale)).cpu() * (
        scale.square().cpu()
    )


def victims(norms: Tensor, chosen: Tensor) -> list[int]:
    """For each chosen channel (largest norm first) the other channel read most alike, none of them twice.

    `norms` [channel] as `reading_norms`, `chosen` [channel] bool. Fewer than the chosen where no others are left.
    """
    left = [channel for channel in range(len(norms)) if not chosen[channel]]
    logs = norms.clamp(min=torch.finfo(torch.float64).tiny).log()
    found: list[int] = []
    for channel in sorted(chosen.nonzero()[:, 0].tolist(), key=lambda one: -float(norms[one])):
        if not left:
            break
        nearest = min(left, key=lambda other: abs(float(logs[other] - logs[channel])))
        left.remove(nearest)
        found.append(nearest)
    return sorted(found)


def drawn(chosen: Tensor, count: int, generator: torch.Generator) -> list[int]:
    """`count` channels at random among those not chosen, or all of these where there are fewer."""
    others = (~chosen).nonzero()[:, 0]
    return sorted(others[torch.randperm(len(others), generator=generator)[:count]].tolist())
