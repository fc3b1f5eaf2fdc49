"""What a dictionary's loss is made of: the architecture and its numbers, and the check of one batch against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

ARCHITECTURES = ("standard", "gated", "topk", "batch_topk", "jumprelu", "matryoshka")
COUNTED = ("topk", "batch_topk", "matryoshka")
"""Those whose number of active latents is set, not learned."""

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """The loss of one architecture.

    Attributes:
        architecture: one of ARCHITECTURES.
        k: active latents a row (topk; on average batch_topk and matryoshka); jumprelu's wanted L0.
        prefixes: matryoshka's ends of nested prefixes, rising, the last one d_sae.
        sparsity: λ of standard, gated and jumprelu.
        bandwidth: ε of jumprelu.
        auxiliary: α of AuxK; 0 for none.
        k_aux: dead latents used at once by AuxK.
        centred: subtract `b_dec` from what is encoded (autoencoders, not transcoders).
    """

    architecture: str
    k: int = 0
    prefixes: tuple[int, ...] = ()
    sparsity: float = 0.0
    bandwidth: float = 1e-3
    auxiliary: float = 1 / 32
    k_aux: int = 256
    centred: bool = True

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if (self.architecture in COUNTED or self.architecture == "jumprelu") and self.k < 1:
            raise ValueError(f"{self.architecture} needs k of 1 or more, got {self.k}")
        rising = all(low < high for low, high in zip((0, *self.prefixes), self.prefixes, strict=False))
        if bool(self.prefixes) != (self.architecture == "matryoshka") or not rising:
            raise ValueError(f"prefixes must rise, and belong to matryoshka alone; got {self.prefixes}")


def names(rule: Rule) -> set[str]:
    """The parameters that a rule has, without the optional skip."""
    if rule.architecture == "gated":
        return {"encoder", "decoder", "b_gate", "b_mag", "r_mag", "b_dec"}
    more = {"log_threshold"} if rule.architecture == "jumprelu" else set()
    return {"encoder", "decoder", "b_enc", "b_dec"} | more


def checked(parameters: Parameters, x: Tensor, target: Tensor, rule: Rule, dead: Tensor | None) -> None:
    """Raise ValueError naming what does not fit."""
    if set(parameters) - {"skip"} != names(rule):
        raise ValueError(f"{rule.architecture} has {', '.join(sorted(names(rule)))}; got {', '.join(parameters)}")
    d_sae, d_in = parameters["encoder"].shape
    d_out = parameters["decoder"].shape[1]
    wanted = {"decoder": (d_sae, d_out), "b_dec": (d_out,), "skip": (d_out, d_in), "encoder": (d_sae, d_in)}
    for name, one in parameters.items():
        if tuple(one.shape) != wanted.get(name, (d_sae,)):
            raise ValueError(f"{name} must be {wanted.get(name, (d_sae,))}, got {tuple(one.shape)}")
    if x.ndim != 2 or x.shape[1] != d_in or target.shape != (len(x), d_out) or not len(x):
        found = f"{tuple(x.shape)} and {tuple(target.shape)}"
        raise ValueError(f"x [row {d_in}] and target [row {d_out}] are wanted, at least one row; got {found}")
    if rule.centred and d_in != d_out:
        raise ValueError(f"a centred rule needs d_in = d_out, got {d_in} and {d_out}")
    if rule.architecture in COUNTED and rule.k > d_sae:
        raise ValueError(f"k must be 1 to d_sae = {d_sae}, got {rule.k}")
    if rule.prefixes and rule.prefixes[-1] != d_sae:
        raise ValueError(f"the last prefix must be d_sae = {d_sae}, got {rule.prefixes[-1]}")
    if dead is not None and dead.shape != (d_sae,):
        raise ValueError(f"dead must be [d_sae] = ({d_sae},), got {tuple(dead.shape)}")
    for name, one in (("x", x), ("target", target)):
        if not bool(one.sum().isfinite()) and not bool(one.isfinite().all()):
            raise ValueError(f"{name} has NaN or infinity in {int((~one.isfinite()).sum())} of {one.numel()} places")
