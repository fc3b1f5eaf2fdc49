"""Activations of a corpus at the sites of dictionaries, rows shuffled nowhere: text by text, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._dictionaries.corpus import Corpus
from hooks.errors import InputError
from hooks.plan import CapturePlan

if TYPE_CHECKING:
    from hooks.model import Model
    from hooks.sites import Site

ROW_TOKENS = 2048


@dataclass(frozen=True, eq=False)
class Harvest:
    """Rows of activations.

    Attributes:
        values: by site, [row channel] fp32; heads side by side.
        text: [row] which text of the corpus.
        position: [row] which token of it.
        token: [row] its id.
    """

    values: dict[Site, Tensor]
    text: Tensor
    position: Tensor
    token: Tensor


def harvest(
    model: Model,
    corpus: Corpus,
    sites: Sequence[Site],
    progress: Callable[[float, str], None],
    texts: Sequence[int] | None = None,
) -> Harvest:
    """Activations of every token but the first of each text, whose norm is many times the others' in most models.

    Raises InputError for NaN or infinity in the activations, naming the site.
    """
    chosen = range(len(corpus.ids)) if texts is None else texts
    prompts = {int(one): corpus.ids[one] for one in chosen}
    total, done = sum(len(ids) for ids in prompts.values()), 0
    plan = CapturePlan(tuple(dict.fromkeys(sites)), "1:", row_tokens=ROW_TOKENS)
    parts: dict[Site, list[Tensor]] = {site: [] for site in plan.sites}
    where: list[tuple[int, int, int]] = []
    for pack in plan.packs(model, prompts):
        for site, found in pack.activations.items():
            if not bool(found.isfinite().all()):
                raise InputError(f"activations at {site.name} hold NaN or infinity; try float32")
            parts[site].append(found.flatten(1).float())
        where += [(one.index, place, one.token_ids[place]) for one in pack.kept for place in one.positions]
        done += sum(len(one.token_ids) for one in pack.kept)
        progress(done / total, f"reading activations, {done:,} of {total:,} tokens")
    text, position, token = torch.tensor(where).T if where else torch.empty(3, 0, dtype=torch.long)
    return Harvest({site: torch.cat(one) for site, one in parts.items()}, text, position, token)
