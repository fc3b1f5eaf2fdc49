"""Rows of an attribution graph: from what a target reads back to everything that was written before it.

One matrix product a layer carries the gradients of many targets at once, without a graph to differentiate: with
patterns and norm scales constant, going back through a head is W_O, the pattern transposed and W_V.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from hooks import weights
from hooks.norms import Norm
from hooks.replacement.local import LocalModel

if TYPE_CHECKING:
    from hooks.model import Model

LATENT_READS = "ln2_normalized"


class Backward:
    """Goes back through one local replacement model.

    Columns of what it gives: every feature of `local.features`, then the errors layer by layer and in a layer by
    position, then the tokens.
    """

    def __init__(self, local: LocalModel) -> None:
        self.local = local
        self.model: Model = local.model
        self.n_pos = len(local.ids)
        self.n_layers = self.model.geometry.n_layers
        self.groups = self.model.geometry.n_key_value_heads
        self.columns = len(local.features) + (self.n_layers + 1) * self.n_pos
        self._of_layer = {
            layer: (local.features.layer == layer).nonzero().flatten() for layer in local.transcoders.layers
        }
        self._attention = [_constant_of_attention(local, layer) for layer in range(self.n_layers)]

    @torch.no_grad()
    def features(self, layer: int, places: Tensor) -> tuple[Tensor, Tensor]:
        """([target column], [target]) edges into features of one layer, and what biases give them."""
        mine = self.local.features.at(places)
        vectors, offsets = self.local.transcoders.readers(layer, mine.index)
        if self.local.transcoders.kinds[layer] == LATENT_READS:
            scale = self.local.scales["ln2"][layer][mine.position]
            vectors = self._norm(layer, "ln2").centre(vectors) / scale
        return self._back(layer, mine.position, vectors, offsets)

    @torch.no_grad()
    def logits(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The same for logits of the last position, less the mean over the vocabulary."""
        norm = self._norm(None, "ln_final")
        W_U, b_U = self.model.W_U, self.model.b_U
        # The mean column is taken in blocks: the whole unembedding in fp32 may be larger than the model.
        mean = torch.stack([block.float().sum(dim=1) for block in W_U.split(8192, dim=1)]).sum(dim=0) / W_U.shape[1]
        wanted = W_U[:, tokens].float().T - mean
        offsets = torch.zeros(len(tokens)) if b_U is None else b_U[tokens].float() - b_U.float().mean()
        if norm.bias is not None:
            offsets = offsets + wanted @ norm.bias
        vectors = norm.centre(wanted * norm.weight) / self.local.scales["ln_final"][0, -1]
        last = torch.full((len(tokens),), self.n_pos - 1)
        return self._back(self.n_layers, last, vectors, offsets)

    def _back(self, layer: int, position: Tensor, vectors: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """From vectors [target d_model] that read the stream before layer `layer`'s MLP (the last: the stream's end).

        Gradients are [pos target d_model] and end at the last position that a target of these reads.
        """
        local, end = self.local, int(position.max()) + 1
        found = vectors.new_zeros(len(vectors), self.columns)
        bias = offsets.clone()
        gradient = vectors.new_zeros(end, *vectors.shape)
        gradient[position, torch.arange(len(vectors))] = vectors
        if layer < self.n_layers and not self.model.geometry.parallel_blocks:
            bias += _dotted(gradient, self._attention[layer])
            gradient = gradient + self._through_attention(layer, gradient)
        for below in range(layer - 1, -1, -1):
            bias += self._collect(below, gradient, found)
            around = self._through_skip(below, gradient)
            if not self.model.geometry.parallel_blocks:
                gradient = gradient if around is None else gradient + around
                around = None
            bias += _dotted(gradient, self._attention[below])
            through = self._through_attention(below, gradient)
            gradient = gradient + through if around is None else gradient + through + around
        found[:, self.columns - self.n_pos :][:, :end] = torch.einsum("ptd,pd->tp", gradient, local.embed[:end])
        bias += _dotted(gradient, local.start - local.embed)
        return found, bias

    def _collect(self, layer: int, gradient: Tensor, found: Tensor) -> Tensor:
        """Edges from what was written to a layer's MLP output, by features (of earlier layers too) and errors.

        Returns what its constants give, [target].
        """
        local, end = self.local, len(gradient)
        for source in local.transcoders.layers:
            if layer not in local.transcoders.targets(source):
                continue
            places = self._of_layer[source]
            mine = local.features.at(places)
            counts = torch.bincount(mine.position, minlength=self.n_pos)[:end]
            stop = int(counts.sum())
            wrote = mine.value[:stop, None] * local.transcoders.written(source, layer, mine.index[:stop])
            parts = zip(gradient, wrote.split(counts.tolist()), places[:stop].split(counts.tolist()), strict=True)
            for one, vectors, columns in parts:
                found[:, columns] += one @ vectors.T
        first = len(local.features) + layer * self.n_pos
        both = torch.stack([local.errors[layer][:end], local.constants[layer][:end]], dim=-1)
        errors, constants = (gradient @ both).unbind(dim=-1)
        found[:, first : first + end] = errors.T
        return constants.sum(dim=0)

    def _through_attention(self, layer: int, gradient: Tensor) -> Tensor:
        """[pos target d_model] from after a layer's attention to before it, by its heads alone."""
        local, end = self.local, len(gradient)
        W_O = self.model.W_O(layer).float()
        W_V = weights.W_V(self.model, layer).float()
        at_heads = gradient @ rearrange(W_O, "head e d -> d (head e)")
        at_heads = rearrange(
            at_heads, "dst target (group q e) -> group (q dst) (target e)", group=self.groups, e=W_O.shape[1]
        )
        seen = rearrange(
            local.patterns[layer][:, :end, :end], "(group q) dst src -> group src (q dst)", group=self.groups
        )
        at_values = rearrange(seen @ at_heads, "group src (target e) -> src target (group e)", e=W_O.shape[1])
        norm = self._norm(layer, "ln1")
        read = (at_values @ rearrange(W_V, "group d e -> (group e) d")) * norm.weight
        return norm.centre(read) / local.scales["ln1"][layer][:end, None]

    def _through_skip(self, layer: int, gradient: Tensor) -> Tensor | None:
        """[pos target d_model] from an MLP's output to the stream that it read, by a transcoder's linear skip."""
        skip = self.local.transcoders.skip(layer)
        if skip is None:
            return None
        read = gradient @ skip
        read[: self.local.first] = 0
        if self.local.transcoders.kinds[layer] != LATENT_READS:
            return read
        scale = self.local.scales["ln2"][layer][: len(gradient), None]
        return self._norm(layer, "ln2").centre(read) / scale

    def _norm(self, layer: int | None, which: str) -> Norm:
        return self.model.norm(layer, which)


def _dotted(gradient: Tensor, constant: Tensor) -> Tensor:
    """[target] of [pos target d_model] and [pos d_model]."""
    return torch.einsum("ptd,pd->t", gradient, constant[: len(gradient)])


def _constant_of_attention(local: LocalModel, layer: int) -> Tensor:
    """[pos d_model] what a layer's attention writes whatever the stream holds: biases of norm, values and output."""
    model = local.model
    W_O, W_V = model.W_O(layer).float(), weights.W_V(model, layer).float()
    norm, b_V, b_O = model.norm(layer, "ln1"), weights.b_V(model, layer), model.b_O(layer)
    values = W_V.new_zeros(W_V.shape[0], W_V.shape[2])
    if norm.bias is not None:
        values = values + torch.einsum("d,gde->ge", norm.bias, W_V)
    if b_V is not None:
        values = values + b_V.float()
    each = values.repeat_interleave(model.geometry.queries_per_group, dim=0)
    mass = local.patterns[layer].sum(dim=-1)
    wrote = torch.einsum("hp,he,hed->pd", mass, each, W_O)
    return wrote if b_O is None else wrote + b_O.float()
