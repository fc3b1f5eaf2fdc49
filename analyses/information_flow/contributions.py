"""How much of a sum each of its parts accounts for, by the distance that is left without it (METHODS § 8).

For a whole y and parts z_j:  proximity_j = max(‖y‖₁ − ‖y − z_j‖₁, ε),  share_j = proximity_j / Σ proximity.
What the whole has besides its parts (a bias) takes no share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-5
"""The least proximity: that of a part which says nothing, or points away."""
BUDGET = 8_000_000
"""Numbers held at once while parts are compared with their wholes: 32 MB in fp32."""


def proximity(whole: Tensor, part: Tensor) -> Tensor:
    """max(‖whole‖₁ − ‖whole − part‖₁, EPSILON), [...], of two tensors [... d_model] that broadcast.

    The difference is taken a coordinate at a time: two large norms would lose the small parts between them.
    """
    return (whole.abs() - (whole - part).abs()).sum(dim=-1).clamp_min(EPSILON)


def shares(whole: Tensor, parts: Tensor) -> Tensor:
    """The share of every part, [... part], which sum to 1; whole [... d_model], parts [... part d_model]."""
    near = proximity(whole[..., None, :], parts)
    return near / near.sum(dim=-1, keepdim=True)


def attended(whole: Tensor, weights: Tensor, written: Callable[[int], Tensor]) -> Tensor:
    """Proximity of every (head, key) vector to the destination that it is added to, [dst head key].

    A part is weights[head, dst, key] · written(head)[key], the key's value through the head's W_O. Keys without weight
    are no parts: their proximity is 0, not EPSILON. All parts of a layer, [dst head key d_model], are never held.

    Args:
        whole: [dst d_model]. weights: [head dst key]. written: head → [key d_model].
    """
    heads, count, keys = weights.shape
    found = whole.new_zeros(count, heads, keys)
    step = max(1, BUDGET // (keys * whole.shape[-1]))
    for head in range(heads):
        values = written(head)
        for first in range(0, count, step):
            some = slice(first, first + step)
            parts = weights[head, some, :, None] * values
            found[some, head] = proximity(whole[some, None], parts)
    return torch.where(weights.transpose(0, 1) != 0, found, 0.0)


def cut(share: Tensor, threshold: float) -> Tensor:
    """Parts with a share of at most `threshold` set to 0, the others divided by what is left; [... part].

    Where no part is left all are 0.
    """
    kept = torch.where(share > threshold, share, 0.0)
    left = kept.sum(dim=-1, keepdim=True)
    return torch.where(left > 0, kept / left.clamp_min(torch.finfo(share.dtype).tiny), 0.0)
