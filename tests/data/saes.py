"""Random dictionaries of every architecture, and their formulas as other tools state them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hooks.dictionaries import Dictionary

D, WIDE, LATENTS, ROWS = 6, 8, 17, 40


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def dictionary(architecture: str, d_out: int = D, **more: Any) -> Dictionary:
    own: dict[str, Any] = {"b_enc": draw(LATENTS, seed=6)}
    if architecture == "gated":
        own = {name: draw(LATENTS, seed=3 + number) for number, name in enumerate(("b_gate", "b_mag", "r_mag"))}
    if architecture == "jumprelu":
        own["threshold"] = draw(LATENTS, seed=7)  # some below 0
    if architecture == "topk":
        own["k"] = 3
    base = {"W_enc": draw(D, LATENTS), "W_dec": draw(LATENTS, d_out), "b_dec": draw(d_out, seed=1)}
    return Dictionary(architecture, **(base | own | more))


def stated(cfg: dict[str, Any], t: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """(codes, output) of SAELens' settings and tensors, dense, as its format describes them."""
    t = {name: one.float() for name, one in t.items()}
    read, mean, deviation = x, torch.tensor(0.0), torch.tensor(1.0)
    if cfg["normalize_activations"] == "layer_norm":
        mean, deviation = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
        read = (x - mean) / (deviation + 1e-5)
    centred = read - t["b_dec"] if cfg["apply_b_dec_to_input"] else read
    norms = t["W_dec"].norm(dim=1) if cfg.get("rescale_acts_by_decoder_norm") else torch.ones(cfg["d_sae"])
    if cfg["architecture"] == "gated":
        f = (centred @ t["W_enc"] + t["b_gate"] > 0) * torch.relu(
            centred @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]
        )
    else:
        h = (centred @ t["W_enc"] + t["b_enc"]) * norms
        f = torch.relu(h)
        if "threshold" in t:
            f = f * (h > t["threshold"])
        if cfg["architecture"] == "topk":
            f = torch.zeros_like(h).scatter(1, h.topk(cfg["k"]).indices, 1) * f
    made = (f / norms) @ t["W_dec"] + t["b_dec"]
    if "W_skip" in t:
        made = made + x @ t["W_skip"].T
    return f, made * deviation + mean
