"""Transcoders for toy models: random ones of every form, and a model whose MLPs its transcoders are exactly."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hooks.dictionaries import CrossLayer, Dictionary, Placed
from hooks.load import load
from hooks.model import Model
from hooks.replacement import Graph, LocalModel, Transcoders, attributed, likely, replaced
from hooks.sites import Site

LATENTS = 10


def tensors(model: Model, seed: int, out: int = 1) -> dict[str, Tensor]:
    """Of a dictionary without its architecture's extras."""
    random, d = torch.Generator().manual_seed(seed), model.geometry.d_model
    return {
        "W_enc": torch.randn(d, LATENTS, generator=random) / d**0.5,
        "W_dec": torch.randn(LATENTS, out * d, generator=random) / 4,
        "b_dec": torch.randn(out * d, generator=random) / 4,
        "b_enc": torch.randn(LATENTS, generator=random) / 4,
    }


def transcoder(model: Model, layer: int, form: str = "standard", reads: str = "ln2_normalized") -> Placed:
    """A random one: standard, jumprelu, topk, rescaled, gated or skip."""
    one, settings = tensors(model, layer), {"architecture": "standard", "centred": False}
    random, d = torch.Generator().manual_seed(99), model.geometry.d_model
    if form == "jumprelu":
        settings["architecture"], one["threshold"] = "jumprelu", torch.rand(LATENTS, generator=random) / 2
    if form in ("topk", "rescaled"):
        settings |= {"architecture": "topk", "k": 3, "rescaled": form == "rescaled"}
    if form == "gated":
        settings["architecture"] = "gated"
        one |= {name: torch.randn(LATENTS, generator=random) / 4 for name in ("b_gate", "b_mag", "r_mag")}
        del one["b_enc"]
    if form == "skip":
        one["W_skip"] = torch.randn(d, d, generator=random) / d
    return Placed(Dictionary.of(one, settings), Site(layer, reads), Site(layer, "mlp_out"), model.identity.as_dict())


def crossing(model: Model, layers: tuple[int, ...] = (0, 1, 2)) -> Transcoders:
    """A random cross-layer set."""
    parts = []
    for place, layer in enumerate(layers):
        one, width = tensors(model, layer, len(layers) - place), model.geometry.d_model
        one["b_dec"][width:] = 0
        parts.append(Dictionary.of(one, {"architecture": "standard", "centred": False}))
    return Transcoders.of_cross(CrossLayer(layers, tuple(parts), model.identity.as_dict()), model)


def graph_of(model: Model, ids: Tensor, transcoders: Transcoders, most: int = 10_000) -> tuple[LocalModel, Graph]:
    """The whole graph of a prompt."""
    local = replaced(model, ids, transcoders)
    tokens, probabilities = likely(local.logits, 0.95, 5)
    return local, attributed(local, tokens, probabilities, most_features=most)


def exact(folder: Path) -> tuple[Model, Transcoders]:
    """A GPT-2 toy with relu for gelu, and the transcoders that its MLPs then are."""
    model = load("toy:gpt2", folder)
    placed = []
    for layer, block in enumerate(model.module.transformer.h):  # type: ignore[union-attr]
        block.mlp.act = nn.ReLU()
        norm, mlp = model.norm(layer, "ln2"), block.mlp
        assert norm.bias is not None
        one = Dictionary(
            "standard", (norm.weight[:, None] * mlp.c_fc.weight).contiguous(), mlp.c_proj.weight.clone(),
            mlp.c_proj.bias.clone(), b_enc=norm.bias @ mlp.c_fc.weight + mlp.c_fc.bias, centred=False,
        )  # fmt: skip
        placed.append(Placed(one, Site(layer, "ln2_normalized"), Site(layer, "mlp_out"), {}))
    return model, Transcoders.of_placed(placed, model)
