"""The fitting loop: Adam on KL(model ‖ lens) over drawn rows, checked on other texts; the best checked step is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._trained_lenses.translators import Affine, Translator
from hooks.errors import InputError

BETAS = (0.9, 0.99)
CHECKS, CHECKED = 8, 256
"""How often a fit is checked besides before its first step, and on how many rows at most."""
CURVE = ["step", "fitted", "checked"]

Divergence = Callable[[Tensor, Tensor], Tensor]
"""divergence(states, finals) [row]."""


@dataclass(frozen=True)
class Schedule:
    """Steps of `batch` rows each; the rate falls linearly to 0; `seed` of the rows drawn."""

    steps: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True, eq=False)
class Data:
    """What one lens reads, x [row d_in] and base [row d_model], what it is to be near, finals [row d_model].

    `text` [row] says whose a row is; `fitted`, `checked` and `tested` are rows.
    """

    x: Tensor
    base: Tensor
    finals: Tensor
    text: Tensor
    fitted: Tensor
    checked: Tensor
    tested: Tensor

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """base, x and finals of some rows."""
        rows = rows.to(self.x.device)
        return self.base[rows], self.x[rows], self.finals[rows]


def translator_of(data: Data) -> Translator:
    """A translator in the units of the rows to fit on, before any fitting."""
    base, x, finals = data.at(data.fitted)
    return Translator(x, base, finals)


def fit(
    translator: Translator, data: Data, divergence: Divergence, schedule: Schedule, context: Context, name: str
) -> tuple[Affine, pd.DataFrame]:
    """Fit in place and return the plain map of the best checked step, with the curve (`CURVE`, in nats a token).

    `fitted` is the mean over the batches since the last check, missing at step 0. A run that was interrupted takes a
    finished fit of this name from what it remembered.

    Raises:
        InputError: the divergence is no longer a number; names the step.
    """
    if (kept := context.recall(name)) is not None:
        return Affine(kept["weight"].to(data.x.device), kept["bias"].to(data.x.device)), _curve(kept["curve"].tolist())
    rows: list[list[float]] = []
    losses: list[float] = []
    best, told = (float("inf"), translator.plain()), data.checked[:: -(-len(data.checked) // CHECKED)]
    with torch.enable_grad():
        steps = _steps(translator, data, divergence, schedule)
        for step in range(schedule.steps + 1):
            if step in _checks(schedule.steps):
                now = _checked(translator, data, divergence, told, name, step)
                if now < best[0]:
                    best = now, translator.plain()
                rows.append([step, sum(losses) / len(losses) if losses else float("nan"), now])
                losses = []
                context.show(name, _curve(rows))
            context.progress(step / max(schedule.steps, 1), f"{name}, step {step}, {rows[-1][2]:.3f} nats")
            if step < schedule.steps:
                losses.append(next(steps))
    context.remember(name, {"weight": best[1].weight, "bias": best[1].bias,
                            "curve": torch.tensor(rows, dtype=torch.float64)})  # fmt: skip
    return best[1], _curve(rows)


def _steps(translator: Translator, data: Data, divergence: Divergence, schedule: Schedule):  # type: ignore[no-untyped-def]
    """Endless steps of the optimiser, each giving its batch's mean."""
    for one in (translator.D, translator.b):
        one.requires_grad_()
    optimiser = torch.optim.Adam([translator.D, translator.b], lr=schedule.rate, betas=BETAS)
    random, step = torch.Generator().manual_seed(schedule.seed), 0
    while True:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * (1 - step / schedule.steps)
        drawn = data.fitted[torch.randint(len(data.fitted), (schedule.batch,), generator=random)]
        base, x, finals = data.at(drawn)
        loss = divergence(translator(base, x), finals).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        yield float(loss.detach())


@torch.no_grad()
def _checked(translator: Translator, data: Data, divergence: Divergence, rows: Tensor, name: str, step: int) -> float:
    base, x, finals = data.at(rows)
    found = float(divergence(translator(base, x), finals).mean())
    if found != found or found == float("inf"):
        raise InputError(f"fitting {name} went astray before step {step}: choose a smaller rate")
    return found


def _checks(steps: int) -> set[int]:
    return {round(steps * turn / CHECKS) for turn in range(CHECKS + 1)}


def _curve(rows: list[list[float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=CURVE).astype({"step": int})
