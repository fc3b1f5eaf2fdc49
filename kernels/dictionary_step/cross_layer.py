"""Cross-layer transcoders: latents of each layer write to that layer's target and to all later ones.

Layers stand in the model's order, n of them, each with an encoder of its own:

    z_l = x_l·E_lᵀ + b_l          f_l: by the rule (topk, or batch_topk over that layer's batch)
    ŷ_m = Σ_{l ≤ m} f_l·D_{l→m} + c_m
    loss = Σ_m ‖y_m − ŷ_m‖²/B + α·Σ_l ‖e_{l…} − ê_l‖²/B

A latent's row of D_l holds what it writes to all its layers, end to end: [d_sae, (n − l)·d_out]. AuxK as in `naive`:
the dead latents of layer l reconstruct what is missed, held constant, of the targets that they write to.

Source: Ameisen et al. 2025 (circuit tracing), whose activation is JumpReLU; Lindsey et al. 2024 (crosscoders).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kernels.dictionary_step.naive import Step, activations, largest_of_rows
from kernels.dictionary_step.rule import Rule
from kernels.dictionary_step.sparse import Kept, kept_codes, pull_codes, revive, weighted_sums

Layers = Sequence[Mapping[str, Tensor]]
"""By layer: encoder [d_sae d_in], decoder [d_sae (n − l)·d_out], b_enc [d_sae], b_dec [d_out] of its target."""


def checked_layers(layers: Layers, x: Tensor, target: Tensor, rule: Rule) -> None:
    """Raise ValueError naming what does not fit."""
    if rule.architecture not in ("topk", "batch_topk") or rule.centred:
        raise ValueError(f"cross-layer: topk or batch_topk, not centred; got {rule.architecture}, {rule.centred}")
    if x.ndim != 3 or target.ndim != 3 or not (len(x) == len(target) == len(layers)) or x.shape[1] != target.shape[1]:
        found = f"{tuple(x.shape)} and {tuple(target.shape)}"
        raise ValueError(
            f"x [layer row d_in] and target [layer row d_out] of {len(layers)} layers are wanted; got {found}"
        )
    for place, p in enumerate(layers):
        d_sae, d_out = p["encoder"].shape[0], target.shape[2]
        wanted = {"encoder": (d_sae, x.shape[2]), "decoder": (d_sae, (len(layers) - place) * d_out),
                  "b_enc": (d_sae,), "b_dec": (d_out,)}  # fmt: skip
        for name, shape in wanted.items():
            if name not in p or tuple(p[name].shape) != shape:
                raise ValueError(
                    f"layer {place}: {name} must be {shape}, got {tuple(p[name].shape) if name in p else None}"
                )
        if not 1 <= rule.k <= d_sae:
            raise ValueError(f"layer {place}: k must be 1 to d_sae = {d_sae}, got {rule.k}")
    for name, one in (("x", x), ("target", target)):
        if not bool(one.sum().isfinite()) and not bool(one.isfinite().all()):
            raise ValueError(f"{name} has NaN or infinity in {int((~one.isfinite()).sum())} of {one.numel()} places")


def naive_step(
    layers: Layers, x: Tensor, target: Tensor, rule: Rule, dead: Sequence[Tensor | None] | None = None
) -> list[Step]:
    """The definition, dense, by autograd: a Step a layer, its losses those of the layer's own target.

    Args:
        layers: parameters by layer.
        x: [layer row d_in] fp32.
        target: [layer row d_out] fp32.
        rule: topk or batch_topk, not centred.
        dead: by layer [d_sae] bool, or None.

    Raises:
        ValueError: what does not fit, NaN or infinity.
    """
    checked_layers(layers, x, target, rule)
    leaves = [{name: one.detach().clone().requires_grad_() for name, one in p.items()} for p in layers]
    with torch.enable_grad():
        z = [one @ p["encoder"].T + p["b_enc"] for one, p in zip(x, leaves, strict=True)]
        f = [activations(one, rule) for one in z]
        made = torch.stack([_written(place, f, leaves, target.shape[2]) for place in range(len(leaves))])
        errors = (target - made).square().sum(dim=2).mean(dim=1)
        missed, silent = (target - made).detach(), dead or [None] * len(z)
        revived = [_revived(place, z[place], leaves[place], missed, rule, silent[place]) for place in range(len(z))]
        (errors.sum() + torch.stack(revived).sum()).backward()
    return [_told(p, one.detach(), float(errors[place].detach()), float(revived[place].detach()))
            for place, (p, one) in enumerate(zip(leaves, f, strict=True))]  # fmt: skip


def _written(target: int, f: Sequence[Tensor], leaves: Layers, width: int) -> Tensor:
    """ŷ of one target [row d_out]."""
    parts = [f[layer] @ leaves[layer]["decoder"][:, (target - layer) * width : (target - layer + 1) * width]
             for layer in range(target + 1)]  # fmt: skip
    return torch.stack(parts).sum(dim=0) + leaves[target]["b_dec"]


def _revived(layer: int, z: Tensor, p: Mapping[str, Tensor], missed: Tensor, rule: Rule, dead: Tensor | None) -> Tensor:
    if not rule.auxiliary or dead is None or not bool(dead.any()):
        return z.new_zeros(())
    codes = largest_of_rows(z[:, dead], min(rule.k_aux, int(dead.sum())))
    wanted = missed[layer:].transpose(0, 1).flatten(1)
    return rule.auxiliary * (wanted - codes @ p["decoder"][dead]).square().sum(dim=1).mean()


def _told(p: Mapping[str, Tensor], f: Tensor, error: float, auxiliary: float) -> Step:
    on = f > 0
    return Step(
        {"reconstruction": error, "sparsity": 0.0, "auxiliary": auxiliary},
        {name: torch.zeros_like(one) if one.grad is None else one.grad for name, one in p.items()},
        on.any(dim=0), float(on.sum()) / len(f), float(f[on].min()) if bool(on.any()) else 0.0, "naive",
    )  # fmt: skip


@torch.no_grad()
def cross_layer_step(
    layers: Layers, x: Tensor, target: Tensor, rule: Rule, dead: Sequence[Tensor | None] | None = None
) -> list[Step]:
    """Arguments, results and errors of `naive_step`; dense are only z and AuxK's few columns."""
    checked_layers(layers, x, target, rule)
    n, rows, width = target.shape
    kept: list[Kept] = []
    z = []
    made = torch.stack([p["b_dec"] for p in layers])[:, None].repeat(1, rows, 1)
    for place, p in enumerate(layers):
        z.append(torch.addmm(p["b_enc"], x[place], p["encoder"].T))
        kept.append(kept_codes(z[place], rule))
        wrote = weighted_sums(kept[place].start, kept[place].latent, kept[place].value, p["decoder"])
        made[place:] += wrote.view(rows, n - place, width).transpose(0, 1)
    errors = made - target
    steps = []
    for place, p in enumerate(layers):
        gradients = {name: torch.zeros_like(one) for name, one in p.items()}
        flat = errors[place:].transpose(0, 1).flatten(1)
        pull_codes(gradients, kept[place], (2 / rows) * flat, x[place], p["decoder"])
        gradients["b_dec"] += (2 / rows) * errors[place].sum(dim=0)
        lost, silent = 0.0, (dead or [None] * n)[place]
        if rule.auxiliary and silent is not None and bool(silent.any()):
            lost = revive(gradients, z[place], flat, x[place], p["decoder"], rule, silent)
        fired = torch.zeros(len(p["encoder"]), dtype=torch.bool, device=x.device)
        fired[kept[place].latent] = True
        value = kept[place].value
        losses = {"reconstruction": float(errors[place].square().sum()) / rows, "sparsity": 0.0, "auxiliary": lost}
        steps.append(
            Step(losses, gradients, fired, len(value) / rows, float(value.min()) if len(value) else 0.0, "sparse")
        )
    return steps
