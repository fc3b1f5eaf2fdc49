"""Lenses as artifacts: what has to be known to use one again, and which use is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from analyses._trained_lenses.texts import Texts
from analyses._trained_lenses.translators import Affine
from hooks.dictionaries.placed import known, unlike
from hooks.errors import InputError

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

Key = tuple[int, ...]
"""A layer, or a layer and an offset."""


def tensors_of(lenses: Mapping[Key, Affine]) -> dict[str, Tensor]:
    """What an artifact holds."""
    found: dict[str, Tensor] = {}
    for key, one in lenses.items():
        name = "-".join(map(str, key))
        found |= {f"weight-{name}": one.weight, f"bias-{name}": one.bias}
    return found


def meta_of(model: Model, site: str, texts: Texts, positions: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Model, site, and what it was fitted on; digests of the texts that were fitted on or decided the step."""
    seen = sorted({*texts.fitted, *texts.checked})
    return {
        "model": model.identity.as_dict(), "site": site, "origin": texts.origin,
        "fitted_texts": len(texts.fitted), "fitted_positions": positions, "seen": texts.marks(seen),
        "settings": dict(settings),
    }  # fmt: skip


def lenses_of(model: Model, kept: Artifact, widths: tuple[int, int]) -> dict[Key, Affine]:
    """The maps of a kept lens.

    Raises:
        InputError: a lens of another model or revision, of other widths [d_in d_model], or one that is damaged.
    """
    whose = kept.meta.get("model")
    # Lenses kept before there was more to tell have the name alone, and the revision beside it.
    older = {"name": str(whose or ""), "revision": str(kept.meta.get("revision") or "")}
    theirs = dict(whose) if isinstance(whose, Mapping) else older
    if told := unlike(known(theirs), model):
        raise InputError(
            f"lens {kept.name!r} was fitted on a model of {told[0]}; the loaded one has {told[1]}: fit it again"
        )
    found: dict[Key, Affine] = {}
    for name, weight in kept.tensors.items():
        if not name.startswith("weight-"):
            continue
        words = name.removeprefix("weight-")
        bias = kept.tensors.get(f"bias-{words}")
        if bias is None or tuple(weight.shape) != widths or tuple(bias.shape) != widths[1:]:
            raise InputError(
                f"lens {kept.name!r} does not map {widths[0]} to {widths[1]} numbers at {words}: fit it again"
            )
        if not bool(weight.isfinite().all() and bias.isfinite().all()):
            raise InputError(f"lens {kept.name!r} holds numbers that are not finite at {words}: fit it again")
        key = tuple(int(part) for part in words.split("-"))
        found[key] = Affine(weight.float().to(model.device), bias.float().to(model.device))
    if not found:
        raise InputError(f"lens {kept.name!r} holds no map: fit it again")
    return dict(sorted(found.items()))


def chosen(kept: Artifact, lenses: Mapping[Key, Affine], layers: Sequence[int]) -> dict[Key, Affine]:
    """The maps at these layers, all when none is given. Raises InputError for a layer without one."""
    known = sorted({key[0] for key in lenses})
    for layer in layers:
        if layer not in known:
            raise InputError(
                f"lens {kept.name!r} has no translator for layer {layer}: it has {', '.join(map(str, known))}"
            )
    return {key: one for key, one in lenses.items() if not layers or key[0] in layers}


def seen_among(kept: Artifact, marks: Sequence[str]) -> int:
    """How many of these texts the lens was fitted on or checked with."""
    known = set(kept.meta.get("seen", ()))
    return sum(one in known for one in marks)
