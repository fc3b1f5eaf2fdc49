"""What latents write, read in tokens: the logits that one unit of each adds through the final norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.dictionaries import Placed
    from hooks.model import Model

BLOCK = 256
"""Latents whose logits over the whole vocabulary exist at once."""


@dataclass(frozen=True, eq=False)
class Effects:
    """[latent k] tokens and logits, the most promoted and the most suppressed first.

    `counts` [latent bin] says how many of the vocabulary's logits lie in each of equal bins, from the lowest to the
    highest; a latent that moves nothing has all of them in the first.
    """

    promoted: Tensor
    promoted_logits: Tensor
    suppressed: Tensor
    suppressed_logits: Tensor
    counts: Tensor


def in_stream(model: Model, placed: Placed) -> Tensor:
    """[latent d_model] directions as they arrive in the residual stream: those of heads and neurons through W_O, W_out.

    Raises InputError for a site that writes nowhere in the stream by a linear map.
    """
    directions, site = placed.dictionary.directions, placed.writes
    if site.kind in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "embed"):
        return directions
    assert site.layer is not None or site.kind == "embed"
    layer = site.layer or 0
    if site.kind == "z":
        heads = model.W_O(layer).float()
        through = heads.flatten(0, 1) if site.head is None else heads[site.head]
        return directions @ through.to(directions)
    if site.kind == "mlp_post":
        return directions @ model.W_out(layer).to(directions)
    raise InputError(f"a dictionary of {site.name} cannot be read in tokens: it does not write to the residual stream")


@torch.no_grad()
def effects(model: Model, placed: Placed, k: int, bins: int = 16) -> Effects:
    """Logits of one unit of each latent, the norm's scale held at 1, less their mean over the vocabulary."""
    norm = model.norm(None)
    written = norm.linear(in_stream(model, placed).float(), torch.ones(()))
    W_U, parts = model.W_U.float(), []
    k = min(k, W_U.shape[1])
    for some in written.split(BLOCK):
        logits = some @ W_U
        logits -= logits.mean(dim=1, keepdim=True)
        top, low = logits.topk(k), logits.topk(k, largest=False)
        parts.append((top.indices, top.values, low.indices, low.values, _binned(logits, bins)))
    return Effects(*(torch.cat([part[place] for part in parts]) for place in range(5)))


def _binned(logits: Tensor, bins: int) -> Tensor:
    """[latent bin] counts of [latent token], between each latent's lowest and highest."""
    low, high = logits.amin(dim=1, keepdim=True), logits.amax(dim=1, keepdim=True)
    place = ((logits - low) * (bins / (high - low).clamp_min(1e-12))).long().clamp_(0, bins - 1)
    place += bins * torch.arange(len(logits))[:, None]
    return torch.bincount(place.flatten(), minlength=bins * len(logits)).view(-1, bins)
