"""The measures of a cross-layer transcoder: layer by layer, and with all of its layers' outputs replaced at once.

Reconstructions are made from the unchanged model's states, so that one layer's error is not read by the next one's
latents; what the model computes after them is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from analyses._dictionaries.quality import Quality, cross_qualities, judged
from analyses.dictionary_metrics.losses import Making, measured
from analyses.dictionary_metrics.reporting import (
    ABLATED,
    DICTIONARY,
    Progress,
    densities_rows,
    losses_rows,
    summary_row,
)
from analyses.dictionary_metrics.tables import table
from hooks.dictionaries import CrossLayer
from hooks.dictionaries.cross_layer import READS, WRITES
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.dictionary_metrics import MetricsSpec
    from hooks.model import Model

TOGETHER = -1
"""In place of the layer, in the rows of all layers together."""


def measure_crossing(
    model: Model, crossing: CrossLayer, read: Mapping[Site, Tensor], texts: Sequence[Sequence[int]],
    documents: Sequence[int], spec: MetricsSpec, told: Progress,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Frames of `measure_all` but `about`; prefixes and letters are for dictionaries of one layer."""
    x, y = (torch.stack([read[site] for site in some]) for some in _sites(crossing))
    arms, shown = _arms(crossing, y, spec), spec.layers or crossing.layers
    sites = [site for some in _sites(crossing) for site in some]
    wanted = {f"{kind} {one}" for kind in (DICTIONARY, ABLATED) for one in (TOGETHER, *shown)}
    losses = measured(model, sites, texts, documents, {k: arm for k, arm in arms.items() if k in wanted}, told)
    qualities = [*cross_qualities(crossing, x, y), _together(crossing, x, y)]
    rows: dict[str, list[pd.DataFrame]] = {"summary": [], "losses": [], "densities": []}
    for place, layer in enumerate((*crossing.layers, TOGETHER)):
        if layer not in (*shown, TOGETHER):
            continue
        kinds = {kind: f"{kind} {layer}" for kind in (DICTIONARY, ABLATED)}
        neighbour = (float("nan"), float("nan"))
        if layer != TOGETHER:
            directions = crossing.parts[place].W_dec
            densities, neighbour = densities_rows(layer, qualities[place], directions, spec.draw_seed)
            rows["densities"].append(densities)
        where = _where(crossing, layer, qualities[place])
        rows["summary"].append(
            summary_row(where, qualities[place], losses, neighbour, (kinds[DICTIONARY], kinds[ABLATED]))
        )
        rows["losses"].append(losses_rows(layer, losses, kinds))
    frames = {name: pd.concat(parts, ignore_index=True) for name, parts in rows.items()}
    return frames | {"prefixes": table("prefixes", []), "letters": table("letters", [])}


def _sites(crossing: CrossLayer) -> tuple[list[Site], list[Site]]:
    return [Site(layer, READS) for layer in crossing.layers], [Site(layer, WRITES) for layer in crossing.layers]


def _where(crossing: CrossLayer, layer: int, found: Quality) -> dict[str, object]:
    if layer == TOGETHER:
        names = f"{len(crossing.layers)} layers together"
        return {"layer": layer, "reads": names, "writes": names, "latents": len(found.density)}
    return {"layer": layer, "reads": f"layers to {layer}", "writes": Site(layer, WRITES).name,
            "latents": len(found.density)}  # fmt: skip


def _together(crossing: CrossLayer, x: Tensor, y: Tensor) -> Quality:
    """Of all layers' outputs side by side, so that layers of large outputs weigh more; L0 is of all latents."""
    codes = crossing.encode(dict(zip(crossing.layers, x, strict=True)))
    made = crossing.decode(codes)
    fired = [torch.bincount(one.index, minlength=one.d_dict) / x.shape[1] for one in codes.values()]
    return judged(torch.cat([made[one] for one in crossing.layers], dim=1), torch.cat(list(y), dim=1), torch.cat(fired))


def _arms(crossing: CrossLayer, y: Tensor, spec: MetricsSpec) -> dict[str, Making]:
    """By "dictionary LAYER" and "ablated LAYER", TOGETHER for all layers at once."""
    reads, writes = _sites(crossing)
    nothing = {site: torch.zeros_like(one[0]) if spec.ablation == "zero" else one.mean(dim=0)
               for site, one in zip(writes, y, strict=True)}  # fmt: skip
    last: list[tuple[object, dict[Site, Tensor]]] = []

    def made(read: Mapping[Site, Tensor]) -> dict[Site, Tensor]:
        # every arm of one group of texts asks for the same
        if not last or last[0][0] is not read:
            found = crossing.reconstruct({one.layer: read[one] for one in reads if one.layer is not None})
            last[:] = [(read, {site: found[site.layer] for site in writes if site.layer is not None})]
        return last[0][1]

    def gone(read: Mapping[Site, Tensor]) -> dict[Site, Tensor]:
        return {site: nothing[site].to(read[site]).expand(len(read[site]), -1) for site in writes}

    def only(site: Site, arm: Making) -> Making:
        return lambda read: {site: arm(read)[site]}

    arms: dict[str, Making] = {f"{DICTIONARY} {TOGETHER}": made, f"{ABLATED} {TOGETHER}": gone}
    for site in writes:
        arms |= {f"{DICTIONARY} {site.layer}": only(site, made), f"{ABLATED} {site.layer}": only(site, gone)}
    return arms
