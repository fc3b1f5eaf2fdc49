"""Adam on the parameters of one dictionary, whose decoder rows stay of length 1."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from analyses._dictionaries.state import unit

BETAS, EPSILON = (0.9, 0.999), 1e-8
RATES: dict[str, dict[str, float]] = {"jumprelu": {"log_threshold": 5.0}, "standard": {"b_enc": 10.0}}
"""By architecture and parameter, how many times the others' rate it has: what decides alone whether a latent is active
has to go far in few steps, while a step of Adam is of the rate's size whatever the gradient."""


class Adam:
    """`parameters` by name, changed in place, and their moments."""

    def __init__(self, parameters: dict[str, Tensor], architecture: str) -> None:
        self.parameters, self.rates = parameters, RATES.get(architecture, {})
        self.first = {name: torch.zeros_like(one) for name, one in parameters.items()}
        self.second = {name: torch.zeros_like(one) for name, one in parameters.items()}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], taken: int, rate: float) -> None:
        """One step after `taken` ones; the decoder's gradient has no part along its rows."""
        decoder = self.parameters["decoder"]
        across = gradients["decoder"] - (gradients["decoder"] * decoder).sum(dim=1, keepdim=True) * decoder
        given = {**gradients, "decoder": across}
        self._fused([one for one in self.parameters if one not in self.rates], given, taken, rate)
        for name, times in self.rates.items():
            self._fused([name], given, taken, times * rate)
        decoder.copy_(unit(decoder))

    def forget(self, latents: Tensor) -> None:
        """No moments of these latents' encoder, decoder and biases: they begin again."""
        d_sae = len(self.parameters["encoder"])
        for name, one in self.parameters.items():
            if name in ("encoder", "decoder") or one.shape == (d_sae,):
                self.first[name][latents] = 0
                self.second[name][latents] = 0

    def state(self) -> dict[str, Tensor]:
        """Parameters and moments: "p.", "m." and "v." before the name."""
        groups = {"p": self.parameters, "m": self.first, "v": self.second}
        return {f"{key}.{name}": one for key, group in groups.items() for name, one in group.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()`."""
        for key, one in self.state().items():
            one.copy_(state[key])

    def _fused(self, names: list[str], given: Mapping[str, Tensor], taken: int, rate: float) -> None:
        torch._fused_adam_(
            [self.parameters[one] for one in names], [given[one].contiguous() for one in names],
            [self.first[one] for one in names], [self.second[one] for one in names], [],
            [torch.tensor(float(taken + 1)) for _ in names], lr=rate, beta1=BETAS[0], beta2=BETAS[1],
            weight_decay=0.0, eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip
