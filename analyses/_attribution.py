"""One prompt's logit difference, split into what every component writes directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import einsum
from torch import Tensor

from hooks.capture import Cache, run_with_cache
from hooks.errors import InputError
from hooks.pairs import AlignedPair
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class Attribution:
    """One pair's logit difference and its parts.

    Attributes:
        logit_diff: logit(answer) − logit(distractor) at the last position, as the model computed it.
        values: component, kind, layer (−1 before, n_layers after the blocks), head (−1: none), contribution (logits).
    """

    logit_diff: float
    values: pd.DataFrame


@torch.no_grad()
def attribute(model: Model, aligned: AlignedPair) -> Attribution:
    """Split the logit difference of a pair's clean prompt. Raises InputError when its logits are not numbers."""
    layers = range(model.geometry.n_layers)
    sites = [Site(None, "embed"), Site(0, "resid_pre"), Site(None, "ln_final_scale")]
    sites += [Site(layer, kind) for layer in layers for kind in ("z", "mlp_out")]
    tokens = torch.tensor([aligned.clean_ids], device=model.device)
    cache = run_with_cache(model, tokens, sites, last_only=True)
    logits = cache.logits[0, -1].double()
    logit_diff = float(logits[aligned.answer_id] - logits[aligned.distractor_id])
    if not np.isfinite(logit_diff):
        raise InputError(f"the logits of {aligned.pair.clean!r} are not finite numbers; try dtype float32")
    direction = frozen_direction(model, aligned, _last(cache, Site(None, "ln_final_scale")))
    rows = [*_before(cache, direction)]
    for layer in layers:
        rows += _block(model, cache, layer, direction)
    rows += _after(model, aligned)
    return Attribution(logit_diff, pd.DataFrame(rows))


@torch.no_grad()
def attribute_neurons(model: Model, aligned: AlignedPair, layer: int) -> pd.DataFrame:
    """One MLP's direct effect, neuron by neuron: layer, neuron, activation, contribution (logits)."""
    sites = [Site(layer, "mlp_post"), Site(None, "ln_final_scale")]
    cache = run_with_cache(model, torch.tensor([aligned.clean_ids], device=model.device), sites, last_only=True)
    direction = frozen_direction(model, aligned, _last(cache, sites[1]))
    activation = _last(cache, sites[0])
    contribution = activation * (model.W_out(layer).double() @ direction)
    return pd.DataFrame({"layer": layer, "neuron": range(len(activation))}).assign(
        activation=activation.cpu().numpy(), contribution=contribution.cpu().numpy()
    )


def frozen_direction(model: Model, aligned: AlignedPair, scale: Tensor) -> Tensor:
    """[d_model] in fp64: x · direction is what x adds to the logit difference with the final norm's scale frozen.

    centre(x)/s ⊙ w · u = x · centre(w ⊙ u / s), because centring is a symmetric projection.
    """
    norm = model.norm(None)
    difference = model.W_U[:, aligned.answer_id].double() - model.W_U[:, aligned.distractor_id].double()
    return norm.centre(norm.weight.double() * difference / scale)


def _before(cache: Cache, direction: Tensor) -> list[dict[str, Any]]:
    """Tokens, and what else is in the stream before the first block (learned positions, where a model has them)."""
    embed, stream = _last(cache, Site(None, "embed")), _last(cache, Site(0, "resid_pre"))
    rows = [_row("token embedding", "embedding", -1, embed @ direction)]
    if not torch.equal(embed, stream):
        rows.append(_row("position embedding", "embedding", -1, (stream - embed) @ direction))
    return rows


def _block(model: Model, cache: Cache, layer: int, direction: Tensor) -> list[dict[str, Any]]:
    z = _last(cache, Site(layer, "z"))
    heads = einsum(z, model.W_O(layer).double(), direction, "head d_head, head d_head d_model, d_model -> head")
    rows = [_row(f"L{layer}H{head}", "head", layer, value, head) for head, value in enumerate(heads)]
    mlp = _last(cache, Site(layer, "mlp_out")) @ direction
    b_O, b_out = model.b_O(layer), model.b_out(layer)
    if b_O is not None:
        rows.append(_row(f"L{layer} attention bias", "attention bias", layer, b_O.double() @ direction))
    if b_out is not None:
        bias = b_out.double() @ direction
        mlp = mlp - bias
        rows.append(_row(f"L{layer} MLP bias", "mlp bias", layer, bias))
    rows.append(_row(f"L{layer} MLP", "mlp", layer, mlp))
    return rows


def _after(model: Model, aligned: AlignedPair) -> list[dict[str, Any]]:
    """What is the same for every prompt: the final norm's bias through the unembedding, and the unembedding's own."""
    answer, distractor, end = aligned.answer_id, aligned.distractor_id, model.geometry.n_layers
    rows, bias, b_U = [], model.norm(None).bias, model.b_U
    if bias is not None:
        difference = model.W_U[:, answer].double() - model.W_U[:, distractor].double()
        rows.append(_row("final norm bias", "output bias", end, bias.double() @ difference))
    if b_U is not None:
        rows.append(_row("unembedding bias", "output bias", end, b_U[answer].double() - b_U[distractor].double()))
    return rows


def _last(cache: Cache, site: Site) -> Tensor:
    """The activation at the last position in fp64."""
    return cache[site][0, -1].double()


def _row(component: str, kind: str, layer: int, value: Tensor, head: int = -1) -> dict[str, Any]:
    return {"component": component, "kind": kind, "layer": layer, "head": head, "contribution": float(value)}
