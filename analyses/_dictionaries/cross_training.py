"""Training a cross-layer transcoder: as `training`, all layers at once, for a latent may write to all later ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from analyses._dictionaries.adam import Adam
from analyses._dictionaries.state import scales_of, unit
from analyses._dictionaries.training import Batches, Schedule, followed, refuse_astray, refuse_few
from hooks.dictionaries import Dictionary
from hooks.dictionaries.cross_layer import CrossLayer
from kernels.dictionary_step import Rule, Step, cross_layer_step


class CrossTraining:
    """A cross-layer transcoder in training, by BatchTopK, on x and y [layer row width]. `step`: steps taken."""

    def __init__(self, x: Tensor, target: Tensor, rule: Rule, d_sae: int, schedule: Schedule) -> None:
        """Raises InputError for fewer rows than latents."""
        refuse_few(x.shape[1], d_sae)
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
        self.adams = [Adam(p, rule.architecture) for p in self.layers]
        self.silent = torch.zeros(n, d_sae, dtype=torch.long)
        self.threshold = torch.zeros(n)
        self.batches = Batches(x.shape[1], schedule)

    def run(self) -> Iterator[list[Step]]:
        """The steps that are left, a Step a layer. Raises InputError when a loss is NaN or infinite."""
        while self.step < self.schedule.steps:
            yield self._once()

    @torch.no_grad()
    def _once(self) -> list[Step]:
        rows = self.batches(self.step)
        dead = self.silent >= self.schedule.dead_after
        steps = cross_layer_step(self.layers, self.x[:, rows], self.target[:, rows], self.rule, list(dead))
        for place, one in enumerate(steps):
            refuse_astray(one, self.step)
            self.adams[place].step(one.gradients, self.step, self.schedule.rate_at(self.step))
            self.silent[place] = torch.where(one.fired, 0, self.silent[place] + len(rows))
            self.threshold[place] = followed(self.threshold[place], one.smallest, self.step)
        self.step += 1
        return steps

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
        for place, adam in enumerate(self.adams):
            tensors |= {f"{place}.{name}": one for name, one in adam.state().items()}
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()` of the same training."""
        for place, adam in enumerate(self.adams):
            adam.restore({name: state[f"{place}.{name}"] for name in adam.state()})
        self.silent, self.threshold = state["silent"].clone(), state["threshold"].clone()
        self.step = int(state["step"])
