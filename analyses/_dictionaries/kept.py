"""Kept dictionaries: one artifact holds those of one training, one for each layer, or one cross-layer set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hooks.dictionaries import CrossLayer, Dictionary, Placed
from hooks.dictionaries.cross_layer import READS, WRITES
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

KIND, CROSS = "dictionary", "cross_layer"
"""The artifacts' kind, and what `architecture` in the meta of a cross-layer set is."""


def contents(placed: Sequence[Placed], about: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, meta) of an artifact; tensors are called `0.W_enc` and so on, in the order given."""
    tensors = {
        f"{place}.{name}": one for place, each in enumerate(placed) for name, one in each.dictionary.tensors().items()
    }
    parts = [
        {"reads": one.reads.name, "writes": one.writes.name, "settings": one.dictionary.settings(), "about": one.about}
        for one in placed
    ]
    return tensors, {"model": placed[0].model, "dictionaries": parts, "about": about}


def cross_contents(one: CrossLayer, about: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, meta) of an artifact that is a cross-layer set; tensors are called `0.W_enc` and so on, by place."""
    tensors = {f"{place}.{name}": part for place, each in enumerate(one.parts) for name, part in each.tensors().items()}
    settings = [part.settings() for part in one.parts]
    return tensors, {"architecture": CROSS, "model": one.model, "layers": list(one.layers), "settings": settings,
                     "about": about}  # fmt: skip


def is_cross(artifact: Artifact) -> bool:
    """Whether an artifact is a cross-layer set; older ones do not say so by their architecture."""
    return artifact.meta.get("architecture") == CROSS or {"layers", "settings"} <= set(artifact.meta)


def cross_of(artifact: Artifact, model: Model | None = None) -> CrossLayer:
    """What `cross_contents` kept; checked against the model, where one is given. Raises InputError."""
    try:
        parts = tuple(
            Dictionary.of({k.split(".", 1)[1]: one for k, one in artifact.tensors.items() if k.startswith(f"{place}.")},
                          settings)
            for place, settings in enumerate(artifact.meta["settings"])
        )  # fmt: skip
        found = CrossLayer(tuple(artifact.meta["layers"]), parts, dict(artifact.meta["model"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"artifact {artifact.name!r} does not hold a cross-layer transcoder: {error!r}") from error
    if model is not None:
        try:
            found.check(model)
        except InputError as error:
            raise InputError(f"dictionary {artifact.name!r}: {error}") from error
    return found


def all_of(artifact: Artifact, model: Model | None = None) -> list[Placed]:
    """Every dictionary of an artifact, by layer read; checked against the model, where one is given.

    Raises:
        InputError: an artifact that is not what `contents` made, a cross-layer set, or dictionaries that do not fit
            the model.
    """
    if is_cross(artifact):
        raise InputError(
            f"dictionary {artifact.name!r} is a cross-layer transcoder, whose latents write to several layers; here "
            "dictionaries of single layers are wanted (train_dictionary --kind transcoder trains such ones)"
        )
    try:
        parts, owner = artifact.meta["dictionaries"], dict(artifact.meta["model"])
        found = []
        for place, part in enumerate(parts):
            mine = {k.split(".", 1)[1]: one for k, one in artifact.tensors.items() if k.startswith(f"{place}.")}
            dictionary = Dictionary.of(mine, part["settings"])
            found.append(
                Placed(dictionary, Site.parse(part["reads"]), Site.parse(part["writes"]), owner, part["about"])
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"artifact {artifact.name!r} does not hold dictionaries: {error!r}") from error
    for one in found if model is not None else ():
        assert model is not None
        try:
            one.check(model)
        except InputError as error:
            raise InputError(f"dictionary {artifact.name!r}: {error}") from error
    return sorted(found, key=lambda one: -1 if one.reads.layer is None else one.reads.layer)


def latents_of(artifact: Artifact, model: Model | None = None) -> list[Placed]:
    """`all_of`, and of a cross-layer set each layer's latents as a dictionary of their own: see `summed`."""
    return summed(cross_of(artifact, model)) if is_cross(artifact) else all_of(artifact, model)


def summed(one: CrossLayer) -> list[Placed]:
    """The latents of each layer read, with the sum of what one unit of them writes over all layers written.

    Right for what they add to the residual stream in all, and for where they are active; no reconstruction of one site.
    """
    found = []
    for layer, part in zip(one.layers, one.parts, strict=True):
        tensors = part.tensors() | {
            "W_dec": part.W_dec.unflatten(1, (-1, one.width)).sum(dim=1),
            "b_dec": part.b_dec[: one.width].clone(),
        }
        dictionary = Dictionary.of(tensors, part.settings())
        about = {"kind": CROSS, "layers": list(one.layers)}
        found.append(Placed(dictionary, Site(layer, READS), Site(layer, WRITES), one.model, about))
    return found


def one_of(artifact: Artifact, model: Model, layer: int | None = None) -> Placed:
    """The dictionary of a layer, the first when none is named. Raises InputError naming the layers."""
    found = all_of(artifact, model)
    if layer is None:
        return found[0]
    for one in found:
        if one.reads.layer == layer:
            return one
    layers = ", ".join(str(one.reads.layer) for one in found)
    raise InputError(f"dictionary {artifact.name!r} has none for layer {layer}; it has layers {layers}")
