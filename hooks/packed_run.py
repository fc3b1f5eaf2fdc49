"""Forwards run for their activations alone: each site is handed over as it is computed, and the last one ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hooks.attention import Edit
from hooks.capture import derive, storage
from hooks.interventions import selection
from hooks.packing import PackedRow, packed
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

Keep = Callable[[Site, Tensor], None]
"""keep(site, values [batch pos …]) is called once a site, in the order in which the model computes them."""


class Enough(Exception):
    """Every site has been handed over; the rest of the forward is not needed."""


@torch.no_grad()
def run_packed(
    model: Model, row: PackedRow, sites: Iterable[Site], keep: Keep, rows: Tensor | None = None, *, whole: bool = False
) -> None:
    """One forward of prompts packed in a row, up to the last site, or the `whole` of it; no logits but one.

    Args:
        sites: what to keep; a head narrows a site, derived sites are computed.
        keep: takes each site's values, [1 row …]. They may be views into the model's own tensors: copy what must last.
        rows: indices of the packed tokens to keep, ascending; all when None.
    """
    taps = taps_for(model, sites, keep, rows, stop=not whole)
    tokens = row.tokens().to(model.device)
    with model.lock, hooked(taps), packed(model, row) as options, suppress(Enough):
        model.module(tokens, logits_to_keep=1, **options)
        assert whole, "a forward ended before every site was seen"


def taps_for(
    model: Model, sites: Iterable[Site], keep: Keep, rows: Tensor | None = None, *, stop: bool
) -> list[Callable[[], Handle]]:
    """One tap a storage, good for one forward; with `stop`, the last of them raises Enough."""
    waiting: dict[Site, list[Site]] = {}
    for site in dict.fromkeys(sites):
        waiting.setdefault(storage(model, site.whole), []).append(site)
    left = set(waiting)

    def looking(stored: Site) -> Edit:
        def look(activation: Tensor) -> None:
            chosen = activation if rows is None else activation[:, rows]
            for site in waiting[stored]:
                whole = derive(model, site.whole, chosen)
                keep(site, whole if site.head is None else whole[selection(site, whole)])
            left.discard(stored)
            if stop and not left:
                raise Enough

        return look

    return [_maker(model, stored, looking(stored)) for stored in waiting]


def _maker(model: Model, stored: Site, edit: Edit) -> Callable[[], Handle]:
    if stored.kind != "ln_final_input":
        return lambda: tap(model.module, model.anatomy, model.geometry, stored, edit)

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        edit(inputs[0])

    norm = model.module.get_submodule(model.anatomy.final_norm)
    return lambda: Handle(norm.register_forward_pre_hook(before).remove)
