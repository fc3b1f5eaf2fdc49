"""What every head of a layer says about the next token, by its fitted map and by the unembedding alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from einops import einsum, rearrange
from torch import Tensor

from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.running import Done
from analyses._trained_lenses.translators import Affine
from hooks.sites import Site
from kernels.vocab_lens import vocab_lens

if TYPE_CHECKING:
    from hooks.model import Model


def head_parts(model: Model, layer: int, z: Tensor, lens: Affine | None) -> tuple[Tensor, Tensor]:
    """What each head adds to the residual stream [row head d_model] and the stream that is read [row d_model].

    The parts sum to the stream, but for the lens' bias. None for the lens: the model's own output weights.
    """
    maps = model.W_O(layer).float()
    if lens is not None:
        maps = maps + rearrange(lens.weight, "(head d_head) d_model -> head d_head d_model", head=len(maps))
    parts = einsum(z, maps, "row head d_head, head d_head d_model -> row head d_model")
    return parts, parts.sum(dim=1) + (0.0 if lens is None else lens.bias)


@torch.no_grad()
def head_logits_states(readout: Readout, parts: Tensor, stream: Tensor) -> Tensor:
    """Each head's share of the normalised stream [row head d_model]: it is linear once the stream's scale is fixed."""
    norm = readout.model.norm(None)
    return norm.linear(parts, norm.scale(stream)[:, None])


def heads_table(model: Model, done: Done) -> pd.DataFrame:
    """A row a layer, head, position and lens: the head's own most likely next token."""
    readout, frames = Readout.of(model), []
    for (layer, *_), lens in done.lenses.items():
        z = done.rows.states[Site(layer, "z")]
        for name, one in (("logit lens of the heads", None), ("attention lens", lens)):
            shares = head_logits_states(readout, *head_parts(model, layer, z, one))
            frames.append(_said(model, readout, shares).assign(layer=layer, lens=name))
    return pd.concat(frames, ignore_index=True)[
        ["layer", "head", "position", "lens", "top", "top_id", "probability", "norm"]
    ]


def _said(model: Model, readout: Readout, shares: Tensor) -> pd.DataFrame:
    rows, heads, _width = shares.shape
    flat = rearrange(shares, "row head d_model -> (head row) d_model")
    found = vocab_lens(flat, readout.W_U, None)
    ids = found.top_ids[:, 0].tolist()
    return pd.DataFrame({
        "head": np.repeat(np.arange(heads), rows), "position": np.tile(np.arange(rows), heads),
        "top": model.str_tokens(ids), "top_id": ids,
        "probability": found.top_log_probs[:, 0].double().exp().cpu().numpy(),
        "norm": flat.norm(dim=-1).double().cpu().numpy(),
    })  # fmt: skip
