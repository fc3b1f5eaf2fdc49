"""One pass over the texts: moments of every channel, where its largest values stand, and massive activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._activations import Kind, Text, activations
from analyses.attention_sinks.finding import SinkSpec, find
from analyses.attention_sinks.reading import read as read_attention
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True)
class Massive:
    """One massive activation: its place, its value, and the median |x| of that text and layer."""

    layer: int
    channel: int
    text: int
    position: int
    value: float
    median: float
    sink: bool


@dataclass(frozen=True, eq=False)
class Reading:
    """What the texts say of each channel; layers are those asked for, in order. In fp64.

    Attributes:
        sums: [text layer power channel] Σ over tokens of x, x², x³, x⁴.
        sizes: [text layer channel] Σ |x|.
        on_sinks: [text layer channel] Σ |x| over the text's sinks.
        signed_on_sinks: [text layer channel] Σ x over them.
        on_first: [text layer channel] |x| at the first token.
        shares: [text layer channel] Σ over tokens of x² / ‖x‖².
        peaks, peaks_at: [text layer channel] the x of the largest |x|, and its position.
        across: [text layer] kurtosis over the channels of a token, mean over tokens.
        tokens: [text] how many.
        sinks: by text the positions of its sinks; none where no token is one.
        massive: massive activations in order.
    """

    sums: Tensor
    sizes: Tensor
    on_sinks: Tensor
    signed_on_sinks: Tensor
    on_first: Tensor
    shares: Tensor
    peaks: Tensor
    peaks_at: Tensor
    across: Tensor
    tokens: Tensor
    sinks: tuple[tuple[int, ...], ...]
    massive: tuple[Massive, ...]


def kurtosis(values: Tensor) -> Tensor:
    """Fourth central moment over the squared variance, along the last axis: 3 for Gaussian values, 0 if all equal."""
    centred = values - values.mean(dim=-1, keepdim=True)
    second = centred.square().mean(dim=-1)
    return torch.where(second > 0, centred.pow(4).mean(dim=-1) / second.square(), 0.0)


def read(
    model: Model, texts: Sequence[Text], layers: Sequence[int], kind: Kind, massive: tuple[float, float],
    rule: SinkSpec, progress: Progress,
) -> Reading:  # fmt: skip
    """Two forwards a text: one for its sinks, one for its activations. Raises InputError for values not finite."""
    found: dict[str, list[Tensor]] = {}
    sinks, large = [], []
    every = range(model.geometry.n_layers)
    for number, text in enumerate(texts):
        progress(number / len(texts), f"text {number + 1} of {len(texts)}")
        told = find(read_attention(model, text.ids, every).received, rule)
        sinks.append(told.positions if told.found else ())
        kept = activations(model, text.ids, [Site(layer, kind) for layer in layers])
        x = torch.stack([kept[Site(layer, kind)] for layer in layers]).double()
        for name, value in _of(x, sinks[-1]).items():
            found.setdefault(name, []).append(value)
        large += _massive(x, text, layers, sinks[-1], massive)
    tokens = torch.tensor([text.total for text in texts])
    return Reading(
        **{name: torch.stack(parts) for name, parts in found.items()}, tokens=tokens, sinks=tuple(sinks),
        massive=tuple(large),
    )  # fmt: skip


def _of(x: Tensor, sinks: tuple[int, ...]) -> dict[str, Tensor]:
    """The fields of `Reading` for one text's x [layer pos channel]."""
    sizes = x.abs()
    at = sizes.argmax(dim=1)
    squares = x.square()
    norms = squares.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return {
        "sums": torch.stack([x.sum(dim=1), squares.sum(dim=1), x.pow(3).sum(dim=1), x.pow(4).sum(dim=1)], dim=1),
        "sizes": sizes.sum(dim=1),
        "on_sinks": sizes[:, list(sinks)].sum(dim=1),
        "signed_on_sinks": x[:, list(sinks)].sum(dim=1),
        "on_first": sizes[:, 0],
        "shares": (squares / norms).sum(dim=1),
        "peaks": x.gather(1, at[:, None])[:, 0],
        "peaks_at": at,
        "across": kurtosis(x).mean(dim=1),
    }


def _massive(
    x: Tensor, text: Text, layers: Sequence[int], sinks: tuple[int, ...], rule: tuple[float, float]
) -> list[Massive]:
    """Activations above `rule`: an absolute size, and a multiple of the median |x| of the text at that layer."""
    least, times = rule
    sizes = x.abs()
    medians = sizes.flatten(1).median(dim=-1).values
    places = ((sizes > least) & (sizes > times * medians[:, None, None])).nonzero().tolist()
    return [
        Massive(layers[place], channel, text.number, position, float(x[place, position, channel]),
                float(medians[place]), position in sinks)
        for place, position, channel in places
    ]  # fmt: skip


def channel_kurtosis(reading: Reading) -> Tensor:
    """[layer channel] kurtosis over all tokens of all texts, from the sums of powers; 0 for a constant channel."""
    total = reading.tokens.sum().double()
    first, second, third, fourth = (reading.sums.sum(dim=0) / total).unbind(dim=1)
    variance = second - first.square()
    central = fourth - 4 * first * third + 6 * first.square() * second - 3 * first.pow(4)
    # Sums of powers leave rounding of this size where a channel does not vary.
    flat = variance <= 1e-12 * second
    return torch.where(flat, 0.0, central / variance.clamp(min=torch.finfo(torch.float64).tiny).square())
