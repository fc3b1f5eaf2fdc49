"""Cross-layer transcoders: one dictionary a layer, whose latents write to its MLP output and to all later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.dictionaries.dictionary import Dictionary
from hooks.dictionaries.placed import known, unlike
from hooks.errors import InputError
from hooks.sites import Site
from kernels.sparse_encode import SparseCodes

if TYPE_CHECKING:
    from hooks.model import Model

READS, WRITES = "ln2_normalized", "mlp_out"


@dataclass(frozen=True, eq=False)
class CrossLayer:
    """A set of them.

    Attributes:
        layers: those that it reads and writes, rising.
        parts: one dictionary a layer, not centred; its `W_dec` is [d_sae (layers from it on)·width], end to end, and
            its `b_dec` is that of its own target in the first `width` places, 0 beyond.
        model: identity of the model it was made for, as far as it is known.
    """

    layers: tuple[int, ...]
    parts: tuple[Dictionary, ...]
    model: dict[str, str]

    def __post_init__(self) -> None:
        """Raise InputError for layers that do not rise, or widths that do not fit one another."""
        if len(self.layers) != len(self.parts) or list(self.layers) != sorted(set(self.layers)) or not self.layers:
            raise InputError(f"a cross-layer transcoder needs one part a layer, layers rising; got {self.layers}")
        for place, part in enumerate(self.parts):
            if part.d_out != (len(self.layers) - place) * self.width or part.d_in != self.parts[0].d_in:
                raise InputError(
                    f"layer {self.layers[place]} reads {part.d_in} and writes {part.d_out} channels; "
                    f"{self.parts[0].d_in} and {(len(self.layers) - place) * self.width} are wanted"
                )

    @property
    def width(self) -> int:
        """Channels of one layer's MLP output."""
        return self.parts[-1].d_out

    def check(self, model: Model) -> None:
        """Raise InputError where it was made for another model, or does not fit this one."""
        if told := unlike(known(self.model), model):
            raise InputError(f"this cross-layer transcoder was made for a model of {told[0]}")
        for layer in self.layers:
            Site(layer, WRITES).check(model.geometry)
        if {self.width, self.parts[0].d_in} != {model.geometry.d_model}:
            raise InputError(f"it reads and writes {self.width} channels; this model has {model.geometry.d_model}")

    def writes(self, layer: int, target: int) -> Tensor:
        """[d_sae width] what one unit of each latent of a layer writes to a target layer, from the layer on."""
        place, to = self.layers.index(layer), self.layers.index(target)
        if to < place:
            raise InputError(f"latents of layer {layer} write to layer {layer} and later ones, not to {target}")
        return self.parts[place].W_dec[:, (to - place) * self.width : (to - place + 1) * self.width]

    def encode(self, x: Mapping[int, Tensor]) -> dict[int, SparseCodes]:
        """Active latents of every layer from x [row d_in] of every layer. Raises InputError for one that lacks."""
        if absent := [layer for layer in self.layers if layer not in x]:
            raise InputError(f"activations of layer {absent[0]} are wanted too: it reads layers {list(self.layers)}")
        return {layer: part.encode(x[layer]) for layer, part in zip(self.layers, self.parts, strict=True)}

    def reconstruct(self, x: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """ŷ [row width] of every layer from x [row d_in] of every layer. Raises InputError for one that lacks."""
        return self.decode(self.encode(x))

    def decode(self, codes: Mapping[int, SparseCodes]) -> dict[int, Tensor]:
        """ŷ [row width] of every layer from the codes of every layer."""
        made = {layer: torch.zeros(len(codes[layer].row_pointer) - 1, self.width) for layer in self.layers}
        for place, layer in enumerate(self.layers):
            wrote = self.parts[place].decode(codes[layer]).unflatten(1, (-1, self.width))
            for to, target in enumerate(self.layers[place:]):
                made[target] += wrote[:, to]
        return made
