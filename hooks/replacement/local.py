"""The local replacement model of one prompt: the model's own run, read as a linear network (METHODS.md § 11).

Attention patterns and the scales of all norms are constants of the prompt. The output of an MLP is the sum of its
transcoder's active latents, a constant, a linear skip where there is one, and an error; without a transcoder it is all
error. What then flows along the residual stream is linear in the latents, the errors and the token embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.replacement.transcoders import Features, Transcoders
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class LocalModel:
    """One prompt's run and what the transcoders make of it; everything in fp32.

    Attributes:
        model: the model.
        ids: [pos] token ids.
        transcoders: what stands in for MLPs.
        first: the first position with latents and errors; before it, what MLPs write is a constant.
        patterns: [layer head dst src].
        scales: by "ln1", "ln2" [layer pos 1] and "ln_final" [1 pos 1], what the norms divide by.
        mlp_out: [layer pos d_model].
        embed: [pos d_model] token embeddings.
        start: [pos d_model] the stream before the first layer; more than `embed` where positions are embedded too.
        logits: [d_vocab] of the last position.
        features: all active latents.
        errors: [layer pos d_model] what the latents leave over of MLP outputs; 0 before `first`.
        constants: [layer pos d_model] what is written whatever is active: biases, and all of it before `first`.
    """

    model: Model
    ids: Tensor
    transcoders: Transcoders
    first: int
    patterns: Tensor
    scales: dict[str, Tensor]
    mlp_out: Tensor
    embed: Tensor
    start: Tensor
    logits: Tensor
    features: Features
    errors: Tensor
    constants: Tensor

    @property
    def stream(self) -> str:
        """The kind of site whose norm MLPs read: the stream after attention, or before it in parallel blocks."""
        return "resid_pre" if self.model.geometry.parallel_blocks else "resid_mid"


def replaced(model: Model, ids: Tensor, transcoders: Transcoders, *, first: int = 1) -> LocalModel:
    """Run the model once and take its MLP outputs apart.

    Args:
        ids: [1 pos] token ids.
        first: positions before it have no latents and no errors. Transcoders here never saw first tokens, on which
            attention rests and whose activations are many times larger; circuit-tracer leaves the first out as well.

    Raises:
        InputError: several prompts at once, one too long for the model, NaN or infinity in the activations.
    """
    if ids.ndim != 2 or len(ids) != 1:
        raise InputError(f"an attribution graph is of one prompt: tokens must be [1 pos], got {tuple(ids.shape)}")
    layers = range(model.geometry.n_layers)
    sites = {name: [Site(layer, name) for layer in layers]
             for name in ("pattern", "ln1_scale", "ln2_scale", "mlp_out")}  # fmt: skip
    single = [Site(None, "embed"), Site(0, "resid_pre"), Site(None, "ln_final_scale")]
    read = transcoders.sites()
    cache = run_with_cache(model, ids, [*single, *(one for many in sites.values() for one in many), *read.values()])
    whole = {name: torch.stack([cache[one][0].float() for one in many]) for name, many in sites.items()}
    embed, start, final = (cache[one][0].float() for one in single)
    if not bool(cache.logits[0, -1].isfinite().all()):
        raise InputError("the model's logits hold NaN or infinity on this prompt; try float32")
    inputs = {layer: cache[site][0].float() for layer, site in read.items()}
    features = transcoders.encode(inputs)
    features = features.at(features.position >= first)
    mlp_out = whole["mlp_out"]
    constants = torch.zeros_like(mlp_out)
    errors = mlp_out.clone()
    for layer in transcoders.layers:
        constants[layer] = transcoders.bias(layer, mlp_out.shape[-1])
        errors[layer] -= transcoders.output(layer, features, inputs[layer])
    errors[:, :first] = 0
    constants[:, :first] = mlp_out[:, :first]
    scales = {"ln1": whole["ln1_scale"], "ln2": whole["ln2_scale"], "ln_final": final[None]}
    return LocalModel(model, ids[0], transcoders, first, whole["pattern"], scales, mlp_out, embed, start,
                      cache.logits[0, -1].float(), features, errors, constants)  # fmt: skip
