"""States of many texts in rows: what a lens reads, what it is to arrive at, and whose each row is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.errors import InputError
from hooks.plan import CapturePlan
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

MOST_BYTES = 3e9
"""States are held in memory; more than this is refused before anything runs."""


@dataclass(frozen=True, eq=False)
class Rows:
    """One row a token, texts one after another, positions ascending; fp32 on the model's device.

    Attributes:
        states: by site, [row …].
        finals: [row d_model] outputs of the last layer, before the final norm.
        text, position, token: [row] on the CPU.
    """

    states: dict[Site, Tensor]
    finals: Tensor
    text: Tensor
    position: Tensor
    token: Tensor

    def of(self, texts: Collection[int], first: int = 1) -> Tensor:
        """Rows of these texts, from position `first` on."""
        chosen = torch.isin(self.text, torch.tensor(sorted(texts), dtype=torch.int64)) & (self.position >= first)
        return torch.nonzero(chosen)[:, 0]


def read_rows(
    model: Model, texts: Sequence[Sequence[int]], sites: Sequence[Site], progress: Progress, new: int = 0
) -> Rows:
    """Capture every token of the texts, and of `new` greedy ones after each.

    Raises InputError for more than MOST_BYTES of states, or states that are not finite numbers (names the place).
    """
    last = Site(model.geometry.n_layers - 1, "resid_post")
    plan = CapturePlan(tuple(dict.fromkeys((*sites, last))), generate=new)
    prompts = dict(enumerate(texts))
    needed = plan.cost(model, prompts, seconds=False).payload_bytes
    if needed > MOST_BYTES:
        raise InputError(
            f"the states of {len(texts)} texts at {len(sites)} layers are {needed / 1e9:.1f} GB, at most "
            f"{MOST_BYTES / 1e9:.0f} are held: choose fewer layers, shorter or fewer texts"
        )
    found = sorted(plan.run(model, prompts, progress), key=lambda one: one.index)
    states = {site: torch.cat([one.activations[site] for one in found]).to(model.device) for site in plan.sites}
    for site, values in states.items():
        if not bool(values.isfinite().all()):
            raise InputError(
                f"{site.label} holds numbers that are not finite; a dtype with more range (float32) may help"
            )
    text = torch.cat([torch.full((len(one.positions),), one.index) for one in found])
    position, token = (torch.tensor([value for one in found for value in getattr(one, name)])
                       for name in ("positions", "token_ids"))  # fmt: skip
    return Rows(states, states[last], text, position, token)
