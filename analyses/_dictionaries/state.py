"""A dictionary in training: its first parameters, and the dictionary that they are in the model's own units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.dictionaries import Dictionary
from kernels.dictionary_step import Rule, names

FIRST_ACTIVE = 4
"""How many times the wanted L0 JumpReLU has before training."""
SEEN = 2048
"""Rows that first thresholds and lengths are set on."""
SHORTEST = 0.1
"""Of encoder rows at first; those of transcoders are drawn apart from the decoder's and fit nothing."""


@dataclass(frozen=True)
class Scales:
    """What activations are divided by in training, so that the mean norm is √channels: of what is read and written."""

    reads: float
    writes: float


def scales_of(x: Tensor, target: Tensor) -> Scales:
    """From [row d_in] and [row d_out]."""
    found = [float(one.norm(dim=1).mean()) / one.shape[1] ** 0.5 for one in (x, target)]
    return Scales(*(one if one > 0 else 1.0 for one in found))


def first_parameters(
    rule: Rule, x: Tensor, target: Tensor, d_sae: int, skip: bool, random: torch.Generator
) -> dict[str, Tensor]:
    """Unit decoder rows at random; for an autoencoder encoder rows are the same, for a transcoder they are drawn too.

    `x` and `target` are scaled rows: b_dec begins at the mean of the target. Of standard ones half of the latents are
    active at first, and together they would write too much: encoder rows are as long as fits the target best.
    """
    d_in, d_out = x.shape[1], target.shape[1]
    decoder = unit(torch.randn(d_sae, d_out, generator=random))
    encoder = decoder.clone() if rule.centred else unit(torch.randn(d_sae, d_in, generator=random))
    made = {"encoder": encoder, "decoder": decoder, "b_dec": target.mean(dim=0)}
    made |= {name: torch.zeros(d_sae) for name in names(rule) - set(made)}
    z = (x[:SEEN] - made["b_dec"] if rule.centred else x[:SEEN]) @ encoder.T
    if rule.architecture == "standard":
        wrote, wanted_of_it = torch.relu(z) @ decoder, target[:SEEN] - made["b_dec"]
        best = float((wrote * wanted_of_it).sum() / wrote.square().sum().clamp_min(1e-12))
        made["encoder"] = encoder * min(1.0, max(SHORTEST, best))
    if "log_threshold" in made:
        wanted = min(FIRST_ACTIVE * rule.k, d_sae // 2) * len(z)
        least = float(z.flatten().topk(wanted).values[-1])
        made["log_threshold"] = torch.full((d_sae,), max(least, 1e-3)).log()
    return made | ({"skip": torch.zeros(d_out, d_in)} if skip else {})


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


def finished(p: dict[str, Tensor], rule: Rule, scales: Scales, threshold: float) -> Dictionary:
    """The dictionary of trained parameters, scales folded in, decoder rows of length 1.

    With x/s read and ŷ·t written, latents become f·t: encoder rows times t/s, biases and thresholds times t.
    BatchTopK and nested prefixes become jumprelu with the running `threshold`.
    """
    t, ratio = scales.writes, scales.writes / scales.reads
    shared = {"W_enc": (p["encoder"] * ratio).T.contiguous(), "W_dec": p["decoder"].clone(), "b_dec": p["b_dec"] * t}
    if "skip" in p:
        shared["W_skip"] = p["skip"] * ratio
    told: dict[str, object] = {"centred": rule.centred, "prefixes": list(rule.prefixes)}
    if rule.architecture == "gated":
        more = {"b_gate": p["b_gate"] * t, "b_mag": p["b_mag"] * t, "r_mag": p["r_mag"].clone()}
        return Dictionary.of(shared | more, told | {"architecture": "gated"})
    shared["b_enc"] = p["b_enc"] * t
    if rule.architecture in ("batch_topk", "matryoshka"):
        shared["threshold"] = torch.full_like(p["b_enc"], threshold * t)
    if rule.architecture == "jumprelu":
        shared["threshold"] = p["log_threshold"].exp() * t
    names_there = {"topk": "topk", "standard": "standard"}
    return Dictionary.of(shared, told | {"architecture": names_there.get(rule.architecture, "jumprelu"),
                                         "k": rule.k if rule.architecture == "topk" else None})  # fmt: skip
