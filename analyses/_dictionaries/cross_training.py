"""Training a cross-layer transcoder: as `training`, all layers at once, for a latent may write to all later ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from analyses._dictionaries.state import scales_of, unit
from analyses._dictionaries.training import BETAS, EPSILON, FOLLOW, Batches, Schedule
from hooks.dictionaries import Dictionary
from hooks.dictionaries.cross_layer import CrossLayer
from hooks.errors import InputError
from kernels.dictionary_step import Rule, Step, cross_layer_step


class CrossTraining:
    """A cross-layer transcoder in training, by BatchTopK, on x and y [layer row width]. `step`: steps taken."""

    def __init__(self, x: Tensor, target: Tensor, rule: Rule, d_sae: int, schedule: Schedule) -> None:
        """Raises InputError for fewer rows than latents."""
        if x.shape[1] < d_sae:
            raise InputError(
                f"{x.shape[1]:,} tokens are too few for {d_sae:,} latents: give more text, or fewer latents"
            )
        self.rule, self.schedule, self.step = rule, schedule, 0
        self.scales = [scales_of(one, wanted) for one, wanted in zip(x, target, strict=True)]
        reads, writes = (torch.tensor([getattr(one, name) for one in self.scales])[:, None, None]
                         for name in ("reads", "writes"))  # fmt: skip
        self.x, self.target = x / reads, target / writes
        random, n = torch.Generator().manual_seed(schedule.seed), len(x)
        self.layers = [
            {"encoder": unit(torch.randn(d_sae, x.shape[2], generator=random)),
             "decoder": unit(torch.randn(d_sae, (n - place) * target.shape[2], generator=random)),
             "b_enc": torch.zeros(d_sae), "b_dec": self.target[place].mean(dim=0)}
            for place in range(n)
        ]  # fmt: skip
        self.moments = [{f"{which}.{name}": torch.zeros_like(one) for name, one in p.items() for which in ("m", "v")}
                        for p in self.layers]  # fmt: skip
        self.silent = torch.zeros(n, d_sae, dtype=torch.long)
        self.threshold = torch.zeros(n)
        self._batches = Batches(x.shape[1], schedule)

    def run(self) -> Iterator[list[Step]]:
        """The steps that are left, a Step a layer. Raises InputError when a loss is NaN or infinite."""
        while self.step < self.schedule.steps:
            yield self._once()

    @torch.no_grad()
    def _once(self) -> list[Step]:
        rows = self._batches(self.step)
        dead = self.silent >= self.schedule.dead_after
        steps = cross_layer_step(self.layers, self.x[:, rows], self.target[:, rows], self.rule, list(dead))
        kept = min(FOLLOW, self.step / (self.step + 10))
        for place, one in enumerate(steps):
            if not sum(one.losses.values()) < float("inf"):
                raise InputError(f"the loss is {sum(one.losses.values())} at step {self.step}: choose a smaller rate")
            self._adam(place, one.gradients)
            self.silent[place] = torch.where(one.fired, 0, self.silent[place] + len(rows))
            self.threshold[place] = kept * self.threshold[place] + (1 - kept) * one.smallest
        self.step += 1
        return steps

    def _adam(self, place: int, gradients: Mapping[str, Tensor]) -> None:
        p, moments, names = self.layers[place], self.moments[place], list(self.layers[place])
        across = gradients["decoder"] - (gradients["decoder"] * p["decoder"]).sum(dim=1, keepdim=True) * p["decoder"]
        given = {**gradients, "decoder": across}
        torch._fused_adam_(
            [p[one] for one in names], [given[one].contiguous() for one in names],
            [moments[f"m.{one}"] for one in names], [moments[f"v.{one}"] for one in names], [],
            [torch.tensor(float(self.step + 1)) for _ in names], lr=self.schedule.rate_at(self.step), beta1=BETAS[0],
            beta2=BETAS[1], weight_decay=0.0, eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip
        p["decoder"].copy_(unit(p["decoder"]))

    def finished(self, layers: Sequence[int], model: dict[str, str]) -> CrossLayer:
        """As it stands, in the model's units: decoder rows of length 1, over all that they write to."""
        parts = []
        for place, p in enumerate(self.layers):
            out = torch.cat([torch.full((self.target.shape[2],), one.writes) for one in self.scales[place:]])
            written = p["decoder"] * out
            norms = written.norm(dim=1)
            bias = torch.zeros_like(out)
            bias[: self.target.shape[2]] = p["b_dec"] * self.scales[place].writes
            parts.append(Dictionary(
                "jumprelu", W_enc=(p["encoder"] * norms[:, None] / self.scales[place].reads).T.contiguous(),
                W_dec=unit(written), b_dec=bias, b_enc=p["b_enc"] * norms, centred=False,
                threshold=norms * self.threshold[place],
            ))  # fmt: skip
        return CrossLayer(tuple(layers), tuple(parts), model)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on besides the rows."""
        tensors = {"silent": self.silent, "threshold": self.threshold, "step": torch.tensor(self.step)}
        for place, (p, moments) in enumerate(zip(self.layers, self.moments, strict=True)):
            tensors |= {f"{place}.{name}": one for name, one in (p | moments).items()}
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()` of the same training."""
        for place, (p, moments) in enumerate(zip(self.layers, self.moments, strict=True)):
            for group in (p, moments):
                for name in group:
                    group[name] = state[f"{place}.{name}"].clone()
        self.silent, self.threshold = state["silent"].clone(), state["threshold"].clone()
        self.step = int(state["step"])
