"""The definition: one dictionary's loss on one batch, dense, with gradients by autograd.

With x [row d_in], target y [row d_out] (y = x for an autoencoder), encoder rows E, decoder rows D and B rows:

    z = (x − b)·Eᵀ + b_enc          b = b_dec where the rule says so, else 0
    f = activation(z)
    ŷ = f·D + b_dec (+ x·Skipᵀ)
    loss = ‖y − ŷ‖²/B + sparsity + α·‖e − ê‖²/B

    standard     f = relu(z);  sparsity = λ·Σf/B
    gated        f = [g > 0]·relu(p), g = (x−b)Eᵀ + b_gate, p = exp(r_mag)·(x−b)Eᵀ + b_mag;
                 sparsity = λ·Σrelu(g)/B + ‖y − relu(g)·D* − b_dec*‖²/B, * held constant
    topk         the k largest of each row where positive
    batch_topk   the k·B largest of the batch where positive
    matryoshka   as batch_topk; the error is the mean over prefixes of the dictionary of the prefix's error
    jumprelu     f = z·[z > θ], θ = exp(log_threshold);  sparsity = λ·(L0/L0* − 1)², L0 = Σ[z > θ]/B
                 ∂f/∂θ = −(θ/ε)·K((z−θ)/ε),  ∂[z > θ]/∂θ = −(1/ε)·K((z−θ)/ε),  K(u) = [|u| < 1/2]

AuxK: e = y − ŷ held constant; ê is the reconstruction from the k_aux largest positive z of the dead latents, no bias.

Sources: Gao et al. 2024 (TopK, AuxK), Bussmann et al. 2024 and 2025 (BatchTopK, Matryoshka), Rajamanoharan et al. 2024
(gated; JumpReLU, whose step looks at z itself), Dunefsky et al. 2024 (transcoders).
Skip: Paulo et al. 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.dictionary_step.rule import Parameters, Rule, checked


@dataclass(frozen=True, eq=False)
class Step:
    """One batch's losses and gradients.

    Attributes:
        losses: "reconstruction", "sparsity" and "auxiliary", numbers; their sum is the loss.
        gradients: of the loss, as the parameters.
        fired: [d_sae] bool, which latents were active.
        active: how many latents were active, mean over rows (L0).
        smallest: the smallest activation that was kept, 0 if none was (BatchTopK's threshold follows it).
        backend: "naive" or "sparse".
    """

    losses: dict[str, float]
    gradients: dict[str, Tensor]
    fired: Tensor
    active: float
    smallest: float
    backend: str


def dictionary_step(parameters: Parameters, x: Tensor, target: Tensor, rule: Rule, dead: Tensor | None = None) -> Step:
    """Losses and gradients.

    Args:
        parameters: `encoder` [d_sae d_in], `decoder` [d_sae d_out], `b_enc` [d_sae] (gated: `b_gate`, `b_mag`, `r_mag`
            instead), `b_dec` [d_out]; jumprelu also `log_threshold` [d_sae]; with a skip, `skip` [d_out d_in].
        x: [row d_in] fp32.
        target: [row d_out] fp32.
        rule: the architecture and its numbers.
        dead: [d_sae] bool, the latents that AuxK revives; None for none.

    Raises:
        ValueError: shapes that do not fit, parameters that the rule does not have, NaN or infinity in the batch.
    """
    checked(parameters, x, target, rule, dead)
    leaves = {name: one.detach().clone().requires_grad_() for name, one in parameters.items()}
    with torch.enable_grad():
        losses, f = _losses(leaves, x, target, rule, dead)
        torch.stack(list(losses.values())).sum().backward()
    on = f.detach() > 0
    return Step(
        {name: float(one.detach()) for name, one in losses.items()},
        {name: torch.zeros_like(one) if one.grad is None else one.grad for name, one in leaves.items()},
        on.any(dim=0),
        float(on.sum()) / len(x),
        float(f.detach()[on].min()) if bool(on.any()) else 0.0,
        "naive",
    )


def _losses(
    p: Mapping[str, Tensor], x: Tensor, target: Tensor, rule: Rule, dead: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """The three losses, and the activations [row d_sae]."""
    centred = x - p["b_dec"] if rule.centred else x
    plain = centred @ p["encoder"].T
    sparsity = plain.new_zeros(())
    if rule.architecture == "gated":
        gate = plain + p["b_gate"]
        z, f = gate, (gate > 0) * torch.relu(plain * p["r_mag"].exp() + p["b_mag"])
        through = torch.relu(gate)
        seen = through @ p["decoder"].detach() + p["b_dec"].detach() + _skipped(p, x).detach()
        sparsity = rule.sparsity * through.sum(dim=1).mean() + _error(target, seen)
    else:
        z = plain + p["b_enc"]
        f = activations(z, rule, p.get("log_threshold"))
    if rule.architecture == "standard":
        sparsity = rule.sparsity * f.sum(dim=1).mean()
    if rule.architecture == "jumprelu":
        count = _Above.apply(z, p["log_threshold"].exp(), rule.bandwidth).sum(dim=1).mean()
        sparsity = rule.sparsity * (count / rule.k - 1) ** 2
    rest = p["b_dec"] + _skipped(p, x)
    ends = rule.prefixes or (f.shape[1],)
    made = [f[:, :end] @ p["decoder"][:end] + rest for end in ends]
    errors = torch.stack([_error(target, one) for one in made]).mean()
    auxiliary = plain.new_zeros(())
    if rule.auxiliary and dead is not None and bool(dead.any()):
        codes = largest_of_rows(z[:, dead], min(rule.k_aux, int(dead.sum())))
        auxiliary = rule.auxiliary * _error((target - made[-1]).detach(), codes @ p["decoder"][dead])
    return {"reconstruction": errors, "sparsity": sparsity, "auxiliary": auxiliary}, f


def activations(z: Tensor, rule: Rule, log_threshold: Tensor | None = None) -> Tensor:
    """f [row d_sae] of pre-activations, by every rule but the gated one. Equal ones: as torch's topk picks."""
    if rule.architecture == "standard":
        return torch.relu(z)
    if rule.architecture == "jumprelu":
        assert log_threshold is not None
        kept: Tensor = _Jump.apply(z, log_threshold.exp(), rule.bandwidth)
        return kept
    if rule.architecture == "topk":
        return largest_of_rows(z, rule.k)
    return largest_of_rows(z.reshape(1, -1), rule.k * len(z)).view_as(z)


def largest_of_rows(z: Tensor, k: int) -> Tensor:
    """z where it is positive and among the k largest of its row, else 0."""
    top, index = z.topk(k, dim=-1)
    return torch.zeros_like(z).scatter(-1, index, torch.relu(top))


def _skipped(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x @ p["skip"].T if "skip" in p else x.new_zeros(())


def _error(target: Tensor, made: Tensor) -> Tensor:
    return (target - made).square().sum(dim=1).mean()


def _near(z: Tensor, threshold: Tensor, width: float) -> Tensor:
    """K((z − θ)/ε)."""
    return (((z - threshold) / width).abs() < 0.5).to(z)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return z * (z > threshold)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        z, threshold = ctx.saved_tensors
        pull = -(threshold / ctx.width) * _near(z, threshold, ctx.width) * gradient
        return gradient * (z > threshold), pull.sum(dim=0), None


class _Above(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return (z > threshold).to(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = gradients
        z, threshold = ctx.saved_tensors
        return None, (-(1 / ctx.width) * _near(z, threshold, ctx.width) * gradient).sum(dim=0), None
