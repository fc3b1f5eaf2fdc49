"""Directions through the unembedding, block by block: the tokens most promoted and most suppressed by each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from kernels.vocab_lens.streamed import first_largest

ROWS = 512
BLOCK = 8192
"""Directions and tokens of a product: 16 MB in fp32, however many neurons and tokens there are."""
GROUP = 64
"""Tokens whose largest value is looked at first: only the groups with the largest can hold the k largest."""


@dataclass(frozen=True, eq=False)
class Words:
    """Of each direction the tokens at both ends, and how all tokens lie.

    Attributes:
        promoted: [row k] token ids, most promoted first; equal values in order of id.
        promoted_values: [row k] products of direction and unembedding.
        suppressed: [row k] token ids, most suppressed first.
        suppressed_values: [row k].
        mean, spread: [row] mean and standard deviation of the products over the whole vocabulary.
    """

    promoted: Tensor
    promoted_values: Tensor
    suppressed: Tensor
    suppressed_values: Tensor
    mean: Tensor
    spread: Tensor

    def z(self, values: Tensor) -> Tensor:
        """How many standard deviations values [row k] lie above the mean of their direction."""
        return (values - self.mean[:, None]) / self.spread.clamp_min(1e-30)[:, None]


@torch.no_grad()
def words_of(directions: Tensor, W_U: Tensor, k: int) -> Words:
    """The k most promoted and suppressed tokens of `directions` [row d_model] under W_U [d_model d_vocab].

    No bias is added. At most ROWS × BLOCK products exist at a time. Raises ValueError for a k that the vocabulary has
    not, and for directions that are not finite.
    """
    if not 1 <= k <= W_U.shape[1]:
        raise ValueError(f"k must be from 1 to d_vocab = {W_U.shape[1]}, got {k}")
    if not bool(directions.isfinite().all()):
        raise ValueError(f"directions {tuple(directions.shape)} hold NaN or infinity")
    parts = [_of_rows(part, W_U, k) for part in directions.float().split(ROWS)]
    names = Words.__dataclass_fields__
    return Words(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _of_rows(directions: Tensor, W_U: Tensor, k: int) -> Words:
    d_vocab, count = W_U.shape[1], len(directions)
    tops = [(directions.new_empty(count, 0), torch.empty(count, 0, dtype=torch.long, device=directions.device))] * 2
    sums = torch.zeros(2, count, dtype=torch.float64, device=directions.device)
    for first in range(0, d_vocab, BLOCK):
        products = directions @ W_U[:, first : first + BLOCK].float()
        sums[0] += products.sum(dim=-1)
        sums[1] += torch.linalg.vector_norm(products, dim=-1).double().square()
        tops = [_merged(top, sign * products, first, k) for top, sign in zip(tops, (1, -1), strict=True)]
    mean = sums[0] / d_vocab
    spread = (sums[1] / d_vocab - mean.square()).clamp_min(0.0).sqrt()
    (high, promoted), (low, suppressed) = tops
    return Words(promoted, high, suppressed, -low, mean.float(), spread.float())


def _merged(top: tuple[Tensor, Tensor], products: Tensor, first: int, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of both with their ids; earlier blocks hold lower ids, so equal ones stay in order of id."""
    found, places = _largest(products, min(k, products.shape[1]))
    values = torch.cat([top[0], found], dim=-1)
    ids = torch.cat([top[1], places + first], dim=-1)
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values[:, :k], ids.gather(1, order[:, :k])


def _largest(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """([row k] values, [row k] places), the largest first, equal ones by place.

    The k largest lie in the k groups with the largest maxima: any other group has k values before its own best.
    """
    products = pad(products, (0, -products.shape[1] % GROUP), value=float("-inf"))
    grouped = products.view(len(products), -1, GROUP)
    best = first_largest(grouped.amax(dim=-1), min(k, grouped.shape[1]))[1].sort(dim=-1).values
    candidates = grouped.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)
    values, places = first_largest(candidates, k)
    return values, best.gather(1, places // GROUP) * GROUP + places % GROUP
