"""Run the plain module once and keep chosen activations, with interventions in force if any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from einops import einsum
from torch import Tensor, nn

from hooks.attention import Edit
from hooks.errors import InputError
from hooks.interventions import Intervention, check, selection
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

_READS = {"ln1": "resid_pre", "ln2": "resid_mid"}


@dataclass(frozen=True, eq=False)
class Cache:
    """What one forward left behind.

    Attributes:
        logits: [batch pos d_vocab], or only the positions that were asked for.
        activations: whole activations by site; `cache[site]` also slices head and position.
    """

    logits: Tensor
    activations: dict[Site, Tensor]

    def __getitem__(self, site: Site) -> Tensor:
        """The activation at `site`, narrowed to its head and position (the position axis stays)."""
        if site.whole not in self.activations:
            kept = ", ".join(sorted({s.name for s in self.activations}))[:400]
            raise InputError(f"{site.name} was not captured; captured: {kept or 'nothing'}")
        whole = self.activations[site.whole]
        return whole if site == site.whole else whole[selection(site, whole)]


@torch.no_grad()
def run_with_cache(
    model: Model,
    tokens: Tensor,
    sites: Iterable[Site] = (),
    interventions: Sequence[Intervention] = (),
    *,
    last_only: bool = False,
) -> Cache:
    """One forward of the fast lane.

    Args:
        tokens: [batch pos] token ids, without padding.
        sites: what to keep; derived sites (norm scales, per-head results) are computed from what they read.
        interventions: applied in order, before capture at the same site.
        last_only: compute the logits of the last position alone, [batch 1 d_vocab].

    Raises:
        InputError: tokens of another shape or longer than the context, a site or value that does not fit the model.
    """
    _check_tokens(model, tokens)
    wanted = list(dict.fromkeys(site.whole for site in sites))
    check(tuple(interventions), model.geometry)
    for site in wanted:
        site.check(model.geometry)
    stored = list(dict.fromkeys(storage(model, site) for site in wanted))
    kept: dict[Site, Tensor] = {}
    taps = [_tap(model, one.site.whole, one.edited) for one in interventions]
    taps += [_tap(model, site, _keeper(kept, site)) for site in stored if site.kind != "ln_final_input"]
    with model.lock, hooked(taps):
        logits = _forward(model, tokens, last_only, kept if Site(None, "ln_final_input") in stored else None)
    return Cache(logits, {site: derive(model, site, kept[storage(model, site)]) for site in wanted})


def _check_tokens(model: Model, tokens: Tensor) -> None:
    if tokens.ndim != 2 or not tokens.numel():
        raise InputError(f"tokens must be [batch pos] with at least one token; got shape {tuple(tokens.shape)}")
    if tokens.shape[1] > model.geometry.n_ctx:
        raise InputError(
            f"{tokens.shape[1]} tokens are too many: {model.identity.name} reads at most {model.geometry.n_ctx}"
        )


def _forward(model: Model, tokens: Tensor, last_only: bool, kept: dict[Site, Tensor] | None) -> Tensor:
    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if kept is not None:
            kept[Site(None, "ln_final_input")] = inputs[0]

    handle = model.module.get_submodule(model.anatomy.final_norm).register_forward_pre_hook(keep)
    try:
        return model.module(tokens.to(model.device), use_cache=False, logits_to_keep=1 if last_only else 0).logits
    finally:
        handle.remove()


def _tap(model: Model, site: Site, edit: Edit) -> Callable[[], Handle]:
    return lambda: tap(model.module, model.anatomy, model.geometry, site, edit)


def _keeper(kept: dict[Site, Tensor], site: Site) -> Edit:
    def keep(activation: Tensor) -> None:
        kept[site] = activation.clone() if site.kind == "resid_mid" else activation

    return keep


def storage(model: Model, site: Site) -> Site:
    """The site whose storage answers for `site`: itself, or what a derived one is computed from."""
    if site.kind == "result":
        return Site(site.layer, "z")
    if site.kind.startswith("ln_final"):
        return Site(None, "ln_final_input")
    if site.kind.startswith("ln"):
        reads = _READS[site.kind[:3]]
        return Site(site.layer, "resid_pre" if model.geometry.parallel_blocks else reads)
    return site


def derive(model: Model, site: Site, stored: Tensor) -> Tensor:
    """The activation at a whole `site` from that of its storage, [batch pos …]."""
    if site.kind == "result":
        assert site.layer is not None
        return einsum(
            stored, model.W_O(site.layer), "batch pos head d_head, head d_head d_model -> batch pos head d_model"
        )
    if site.kind.endswith(("_scale", "_normalized")):
        norm = model.norm(site.layer, site.kind.rpartition("_")[0])
        scale = norm.scale(stored)
        return scale if site.kind.endswith("_scale") else norm.centre(stored.float()) / scale
    return stored
