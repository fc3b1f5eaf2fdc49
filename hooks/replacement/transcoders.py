"""The transcoders of a local replacement model: one a layer, or a cross-layer set, for some or all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.dictionaries import CrossLayer, Dictionary, Placed
from hooks.dictionaries.cross_layer import READS, WRITES
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class Features:
    """Active latents of a prompt, sorted by layer, then position, then latent: all [feature].

    `value` is the activation, which is also the pre-activation: a latent is active where that is above its threshold.
    """

    layer: Tensor
    position: Tensor
    index: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.value)

    def at(self, chosen: Tensor) -> Features:
        """Those of some places, or of a mask."""
        return Features(self.layer[chosen], self.position[chosen], self.index[chosen], self.value[chosen])


def joined(parts: Sequence[Features]) -> Features:
    """Features one after another; none of nothing."""
    empty = torch.empty(0, dtype=torch.long)
    return Features(
        torch.cat([empty, *(one.layer for one in parts)]), torch.cat([empty, *(one.position for one in parts)]),
        torch.cat([empty, *(one.index for one in parts)]), torch.cat([torch.empty(0), *(one.value for one in parts)]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Transcoders:
    """What stands in for MLPs.

    Attributes:
        parts: by layer, rising, the dictionary that reads there.
        kinds: by layer, the kind of site that it reads: ln2_normalized or resid_mid (resid_pre in parallel blocks).
        cross: the set that `parts` are of, where latents write to later layers too.
    """

    parts: Mapping[int, Dictionary]
    kinds: Mapping[int, str]
    cross: CrossLayer | None = None

    @classmethod
    def of_placed(cls, placed: Sequence[Placed], model: Model) -> Transcoders:
        """One a layer. Raises InputError for what is no transcoder of MLPs, two for a layer, another model."""
        parts: dict[int, Dictionary] = {}
        kinds: dict[int, str] = {}
        for one in sorted(placed, key=lambda one: -1 if one.reads.layer is None else one.reads.layer):
            one.check(model)
            layer = _layer_of(one, model)
            if layer in parts:
                raise InputError(f"two transcoders for layer {layer}: an attribution graph takes one")
            if one.dictionary.layer_norm:
                raise InputError(
                    f"the transcoder of layer {layer} normalises what it reads by itself, which an attribution graph "
                    "cannot hold constant; train one without layer_norm"
                )
            parts[layer], kinds[layer] = one.dictionary, one.reads.kind
        return cls(parts, kinds)

    @classmethod
    def of_cross(cls, cross: CrossLayer, model: Model) -> Transcoders:
        """A cross-layer set. Raises InputError where it was made for another model."""
        cross.check(model)
        return cls(dict(zip(cross.layers, cross.parts, strict=True)), dict.fromkeys(cross.layers, READS), cross)

    @property
    def layers(self) -> tuple[int, ...]:
        """Those that are covered."""
        return tuple(self.parts)

    def sites(self) -> dict[int, Site]:
        """By layer, what is read."""
        return {layer: Site(layer, kind) for layer, kind in self.kinds.items()}

    def encode(self, inputs: Mapping[int, Tensor]) -> Features:
        """Active latents from the inputs [pos d_model] of covered layers, any of them."""
        return joined([self._encoded(layer, inputs[layer]) for layer in self.parts if layer in inputs])

    def _encoded(self, layer: int, x: Tensor) -> Features:
        codes = self.parts[layer].encode(x.float())
        return Features(torch.full_like(codes.index, layer), codes.rows(), codes.index, codes.value)

    def readers(self, layer: int, index: Tensor) -> tuple[Tensor, Tensor]:
        """([latent d_model], [latent]) the vectors and offsets by which latents read: z = x · vector + offset."""
        part = self.parts[layer]
        # One definition of what each architecture's pre-activation is: that by which it encodes.
        encoder, bias = part.form[:2]
        vectors = encoder[:, index].T
        return vectors, bias[index] - (vectors @ part.b_dec if part.centred else 0.0)

    def targets(self, layer: int) -> tuple[int, ...]:
        """The layers to whose MLP output the latents of a layer write."""
        return (layer,) if self.cross is None else tuple(one for one in self.cross.layers if one >= layer)

    def written(self, layer: int, target: int, index: Tensor) -> Tensor:
        """[latent d_model] what one unit of latents of `layer` writes to the MLP output of `target`."""
        table = self.parts[layer].directions if self.cross is None else self.cross.writes(layer, target)
        return table[index].float()

    def bias(self, layer: int, width: int) -> Tensor:
        """[d_model] what is written to a layer whatever is active."""
        return self.parts[layer].b_dec[:width].float()

    def skip(self, layer: int) -> Tensor | None:
        """[d_model d_model] the linear way past a layer's latents, output × input, or None."""
        one = self.parts[layer].W_skip if layer in self.parts else None
        return None if one is None else one.float()

    def output(self, layer: int, features: Features, inputs: Tensor) -> Tensor:
        """[pos d_model] what they make of a layer's MLP output, for inputs [pos d_model] of that layer."""
        made = self.bias(layer, inputs.shape[-1]).expand_as(inputs).clone()
        for source in self.layers:
            if layer in self.targets(source):
                mine = features.at(features.layer == source)
                made.index_add_(0, mine.position, mine.value[:, None] * self.written(source, layer, mine.index))
        skip = self.skip(layer)
        return made if skip is None else made + inputs @ skip.T


def _layer_of(one: Placed, model: Model) -> int:
    stream = "resid_pre" if model.geometry.parallel_blocks else "resid_mid"
    if one.writes.kind != WRITES or one.reads.layer != one.writes.layer or one.reads.kind not in (READS, stream):
        raise InputError(
            f"a dictionary from {one.reads.name} to {one.writes.name} is no transcoder of an MLP: an attribution graph "
            f"needs ones that read {READS} or {stream} and write {WRITES} of the same layer "
            "(train_dictionary --kind transcoder)"
        )
    assert one.reads.layer is not None
    return one.reads.layer
