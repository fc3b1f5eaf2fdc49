"""Which sites, dictionary and probe a run is about, and what of that is refused before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyses._common import checked_layers
from analyses._contract import Context
from analyses._dictionaries.kept import one_of
from analyses.probes.fitting import K_SPARSE
from hooks.dictionaries import Placed
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec
    from analyses.probes.study import Cell
    from hooks.model import Model

LAYERS = 7
"""Layers that are probed where none is named."""


def sites_of(model: Model, spec: ProbesSpec) -> list[Site]:
    """Every site and layer asked for; seven layers over the depth where none is named.

    Raises InputError for layers or sites that this model does not have.
    """
    count = model.geometry.n_layers
    spread = sorted({round(float(one)) for one in np.linspace(0, count - 1, min(LAYERS, count))})
    layers = checked_layers(model, spec.layers) if spec.layers else spread
    found = [Site(layer, kind) for kind in dict.fromkeys(spec.sites) for layer in layers]
    for site in found:
        site.check(model.geometry)
    return found


def dictionary_of(model: Model, spec: ProbesSpec, context: Context) -> Placed | None:
    """The kept dictionary that is named.

    Raises InputError where it does not fit the model, has fewer latents than a probe is to have, or reads another site
    than the k-sparse probe that is chosen.
    """
    if spec.dictionary is None:
        return None
    found = one_of(context.use("dictionary"), model, spec.dictionary_layer)
    if (most := max(spec.sparsities)) > found.dictionary.d_sae:
        raise InputError(f"option sparsities = {most}: dictionary {spec.dictionary!r} has {found.dictionary.d_sae} "
                         "latents; give as many at most")  # fmt: skip
    if spec.chosen_method == K_SPARSE:
        check_chosen(spec, [found.reads])
    return found


def check_chosen(spec: ProbesSpec, sites: Sequence[Site]) -> None:
    """Raise InputError naming what there is, where no probe at these sites has the layer and site chosen."""
    for option, asked, there in (
        ("layer", spec.chosen_layer, [site.layer for site in sites]),
        ("site", spec.chosen_site, [site.kind for site in sites]),
    ):
        if asked is not None and asked not in there:
            valid = ", ".join(map(str, dict.fromkeys(there)))
            raise InputError(f"option chosen_{option} = {asked!r}: no probe of a {option} so named is fitted; "
                             f"valid are {valid}")  # fmt: skip


def chosen_cell(cells: Sequence[Cell], spec: ProbesSpec) -> Cell:
    """The probe that is shown, kept and applied: of the method, site and layer named, the most accurate one."""
    method = spec.chosen_method or cells[0].method
    fitting = [
        cell for cell in cells
        if cell.method == method and spec.chosen_layer in (None, cell.site.layer)
        and spec.chosen_site in (None, cell.site.kind)
    ]  # fmt: skip
    return max(fitting, key=lambda cell: (float(cell.found.hits.mean()), -log_loss_of(cell)))


def log_loss_of(cell: Cell) -> float:
    """Ties in accuracy go to the probe that is surer of what counts."""
    return float(-np.log(np.maximum(cell.found.sure[cell.found.hits], 1e-12)).mean()) if cell.found.hits.any() else 0.0
