"""The share of a prediction that runs through every head and MLP: information-flow routes, summed over positions.

The same search as the analysis information_flow (METHODS § 8), whose contributions these are, kept as sums: from the
residual that makes the prediction down, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.information_flow.contributions import attended, cut, proximity
from analyses.information_flow.reading import Block, blocks

if TYPE_CHECKING:
    from hooks.model import Model


@torch.no_grad()
def flow_shares(
    model: Model, tokens: Tensor, layers: Sequence[int], threshold: float = 0.0
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """([layer head], [layer]) shares of the last token's prediction through heads and MLPs, over all routes.

    Args:
        tokens: [1 pos].
        threshold: parts with at most this share are left out, the others sum to 1.
    """
    flow = torch.zeros(tokens.shape[1], device=tokens.device)
    flow[-1] = 1.0
    heads, mlps = {}, {}
    for block in blocks(model, tokens):
        down = _parallel if block.middle is None else _sequential
        heads[block.layer], mlps[block.layer], flow = down(block, flow, threshold)
    return torch.stack([heads[layer] for layer in layers]), torch.stack([mlps[layer] for layer in layers])


def _sequential(block: Block, flow: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """(heads, MLP, flow [pos] of what enters) from the flow [pos] of what leaves a block."""
    assert block.middle is not None
    near = torch.stack([proximity(block.after, block.middle), proximity(block.after, block.ffn())], dim=-1)
    rest, ffn = cut(near / near.sum(dim=-1, keepdim=True), threshold).unbind(dim=-1)
    mlp = (flow * ffn).sum()
    heads, (left,), keys = _attention(block, block.middle, [block.before], flow * (rest + ffn), threshold)
    return heads, mlp, keys + left


def _parallel(block: Block, flow: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    heads, (left, ffn), keys = _attention(block, block.after, [block.before, block.ffn()], flow, threshold)
    return heads, ffn.sum(), keys + left + ffn


def _attention(
    block: Block, whole: Tensor, others: Sequence[Tensor], flow: Tensor, threshold: float
) -> tuple[Tensor, list[Tensor], Tensor]:
    """([head], [pos] of each other part, [key]): the flow [dst] of sums, shared out to their parts."""
    found = attended(whole, block.pattern, block.written)
    near = torch.cat([torch.stack([proximity(whole, one) for one in others], dim=-1), found.flatten(1)], dim=-1)
    share = cut(near / near.sum(dim=-1, keepdim=True), threshold) * flow[:, None]
    through = share[:, len(others) :].view(found.shape)
    return through.sum(dim=(0, 2)), list(share[:, : len(others)].unbind(dim=-1)), through.sum(dim=(0, 1))
