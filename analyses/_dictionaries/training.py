"""Training one dictionary on rows of activations: Adam, unit decoder rows, dead latents revived, resumable.

The batch of a step depends on the seed and the step alone, so that a training continued from its state takes the steps
that it would have taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analyses._dictionaries.adam import Adam
from analyses._dictionaries.state import Scales, finished, first_parameters, scales_of, unit
from hooks.dictionaries import Dictionary
from hooks.errors import InputError
from kernels.dictionary_step import COUNTED, Rule, Step, dictionary_step

FOLLOW = 0.99
"""How slowly BatchTopK's threshold follows the batches' smallest kept activation."""
WARM, COOL = 0.05, 0.2
"""Shares of the steps over which the rate rises at the beginning, and falls to a tenth at the end."""
DEAD_BATCHES = 20
"""Batches without firing after which a latent is dead."""
REVIVED = 0.2
"""Norm of a resampled latent's encoder, of the mean of the living ones."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: steps of `batch` rows, the highest rate, and after how many rows a latent is dead."""

    steps: int
    batch: int
    rate: float
    dead_after: int
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Rises from 0 to the rate, stays, falls to a tenth."""
        rising = min(1.0, (step + 1) / max(1.0, WARM * self.steps))
        falling = min(1.0, 0.1 + 0.9 * (self.steps - step) / max(1.0, COOL * self.steps))
        return self.rate * rising * falling


def followed(threshold: Tensor | float, smallest: float, step: int) -> Any:
    """BatchTopK's running threshold after one more batch whose smallest kept activation is known."""
    # In the first steps it follows faster: it begins far away, and a short training has no time to forget that.
    kept = min(FOLLOW, step / (step + 10))
    return kept * threshold + (1 - kept) * smallest


def refuse_few(rows: int, latents: int) -> None:
    """Raise InputError for fewer rows than latents, naming both."""
    if rows < latents:
        raise InputError(f"{rows:,} tokens are too few for {latents:,} latents: give more text, or fewer latents")


def refuse_astray(found: Step, step: int) -> None:
    """Raise InputError for a loss that is NaN or infinite."""
    if not sum(found.losses.values()) < float("inf"):
        raise InputError(f"the loss is {sum(found.losses.values())} at step {step}: choose a smaller rate")


class Batches:
    """The rows of each step: an epoch is a permutation of all, its last ones left out where they fill no batch."""

    def __init__(self, rows: int, schedule: Schedule) -> None:
        self.rows, self.size, self.seed = rows, min(schedule.batch, rows), schedule.seed
        self._epoch, self._order = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """[batch] indices."""
        epoch, place = divmod(step, self.rows // self.size)
        if self._epoch != epoch:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(self.rows, generator=random)
        return self._order[place * self.size : (place + 1) * self.size]


class Training:
    """A dictionary in training. `step` is the number of steps taken."""

    def __init__(
        self, x: Tensor, target: Tensor, rule: Rule, d_sae: int, schedule: Schedule, *, skip: bool = False
    ) -> None:
        """x [row d_in] and target [row d_out] in the model's units; the same tensor for an autoencoder.

        Raises InputError for fewer rows than latents, naming both.
        """
        refuse_few(len(x), d_sae)
        self.rule, self.schedule, self.scales = rule, schedule, scales_of(x, target)
        self.x = x / self.scales.reads
        self.target = self.x if target is x else target / self.scales.writes
        random = torch.Generator().manual_seed(schedule.seed)
        self.parameters = first_parameters(rule, self.x, self.target, d_sae, skip, random)
        self.adam = Adam(self.parameters, rule.architecture)
        self.silent = torch.zeros(d_sae, dtype=torch.long)
        self.threshold, self.step = 0.0, 0
        self.batches = Batches(len(x), schedule)

    def run(self) -> Iterator[Step]:
        """The steps that are left, one at a time. Raises InputError when the loss is NaN or infinite, with the step."""
        while self.step < self.schedule.steps:
            yield self._once()

    def _once(self) -> Step:
        rows = self.batches(self.step)
        x = self.x[rows]
        target = x if self.target is self.x else self.target[rows]
        dead = self.silent >= self.schedule.dead_after
        found = dictionary_step(self.parameters, x, target, self.rule, dead)
        refuse_astray(found, self.step)
        self.adam.step(found.gradients, self.step, self.schedule.rate_at(self.step))
        self.silent = torch.where(found.fired, 0, self.silent + len(rows))
        if self.rule.architecture in COUNTED:
            self.threshold = followed(self.threshold, found.smallest, self.step)
        elif (
            not self.rule.auxiliary
            and bool(dead.any())
            and (self.step + 1) % self._every() == 0
            and self.step < (1 - COOL) * self.schedule.steps
        ):
            self._resample(x, target, dead)
        self.step += 1
        return found

    def _every(self) -> int:
        return max(1, self.schedule.dead_after // self.batches.size)

    @torch.no_grad()
    def _resample(self, x: Tensor, target: Tensor, dead: Tensor) -> None:
        """Dead latents begin again at inputs of this batch, drawn by the square of their squared error.

        Bricken et al. 2023, "Towards Monosemanticity", who draw so too.
        """
        made = self.dictionary_in_training().reconstruct(x)
        missed = (target - made).square().sum(dim=1)
        random = torch.Generator().manual_seed(self.schedule.seed * 1_000_003 + self.step)
        latents = dead.nonzero()[:, 0]
        rows = torch.multinomial(missed.square() + 1e-12, min(len(latents), len(x)), generator=random)
        latents = latents[: len(rows)]
        living = self.parameters["encoder"][~dead].norm(dim=1).mean() if bool((~dead).any()) else torch.tensor(1.0)
        shift = self.parameters["b_dec"] if self.rule.centred else 0.0
        self.parameters["encoder"][latents] = unit(x[rows] - shift) * living * REVIVED
        self.parameters["decoder"][latents] = unit((target - made)[rows])
        self.adam.forget(latents)
        for name, one in self.parameters.items():
            if one.shape == dead.shape and name != "log_threshold":
                one[latents] = 0
        self.silent[latents] = 0

    def dictionary_in_training(self) -> Dictionary:
        """As it stands, in the units of training."""
        return finished(self.parameters, self.rule, Scales(1.0, 1.0), self.threshold)

    def dictionary(self) -> Dictionary:
        """As it stands, in the model's units."""
        return finished(self.parameters, self.rule, self.scales, self.threshold)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on besides the rows."""
        tensors = {"silent": self.silent, "at": torch.tensor([self.step, self.threshold], dtype=torch.float64)}
        return tensors | self.adam.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()` of the same training."""
        self.adam.restore(state)
        self.silent = state["silent"].clone()
        self.step, self.threshold = int(state["at"][0]), float(state["at"][1])
