"""Measures of a cloud of vectors, all from its singular values."""

from __future__ import annotations

import torch
from torch import Tensor

PARTICIPATION, EFFECTIVE, CODING, TOP = "participation", "effective_rank", "coding_rate", "top_share"
MEASURES = (PARTICIPATION, EFFECTIVE, CODING, TOP)


def prepared(x: Tensor, *, centred: bool, unit: bool = False) -> Tensor:
    """The rows of x [token d] in fp64, minus their mean if `centred`, times one number: mean ‖row‖² is 1 after it.

    With `unit` every row is divided by its own norm before all that. A cloud without spread is zero.
    """
    rows = x.double()
    if unit:
        rows = rows / rows.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    if centred:
        rows = rows - rows.mean(dim=0)
    size = rows.square().sum(dim=-1).mean().sqrt()
    # What rounding leaves of equal rows is no spread.
    floor = 1e-7 * (1.0 if unit else x.double().norm(dim=-1).mean())
    return rows / size if bool(size > floor) else torch.zeros_like(rows)


def singular_values(rows: Tensor) -> Tensor:
    """Singular values of [token d], descending, min(token, d) of them; through the smaller Gram matrix, in fp64."""
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram).clamp(min=0).flip(0).sqrt()


def measures(values: Tensor, tokens: int, width: int, epsilon: float) -> dict[str, float]:
    """Every measure of singular values of a prepared cloud of `tokens` vectors of `width` channels.

    With λ = σ², the variances along the principal directions:

    * participation ratio (Σλ)² / Σλ²: how many directions of equal variance would spread as much;
    * effective rank exp(H(σ / Σσ)) (Roy and Vetterli 2007);
    * coding rate ½ log det(I + d / (n ε²) X Xᵀ) in nats (Yu et al. 2020), as ½ Σ log(1 + d λ / (n ε²));
    * top share λ₁ / Σλ.

    Of a cloud without spread all are 0.
    """
    powers = values.square()
    total = float(powers.sum())
    if total <= 0:
        return dict.fromkeys(MEASURES, 0.0)
    shares = values / values.sum()
    some = shares[shares > 0]
    return {
        PARTICIPATION: total**2 / float(powers.square().sum()),
        EFFECTIVE: float((-(some * some.log()).sum()).exp()),
        CODING: float(0.5 * torch.log1p(width / (tokens * epsilon**2) * powers).sum()),
        TOP: float(powers[0]) / total,
    }


def shuffled(x: Tensor, generator: torch.Generator) -> Tensor:
    """x [token d] with every channel's values dealt anew to the tokens, each channel by itself.

    What each channel says by itself stays; what channels say together goes.
    """
    order = torch.rand(x.shape, generator=generator).argsort(dim=0)
    return x.gather(0, order)


def gaussian(tokens: int, width: int, generator: torch.Generator) -> Tensor:
    """[token d] independent standard normal values."""
    return torch.randn(tokens, width, generator=generator, dtype=torch.float64)
