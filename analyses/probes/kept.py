"""Probes as artifacts: what is kept, and how one fits the model that it is used with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analyses._stats import Bools, Floats
from analyses.probes.fitting import Probe
from analyses.probes.reading import Item, Labelled
from hooks.dictionaries import channels
from hooks.errors import InputError, unknown
from hooks.sites import Site

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

KIND = "probe"
MARKED = 8
"""First tokens by which a text is known again: the fewest that any reading may take."""
SAME = ("name", "revision", "quantisation", "processing")
"""What of a model's identity decides whether a probe fits it."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A probe with its place and what its direction needs to be applied.

    Attributes:
        classes: names [class].
        toward: place of the class that the direction speaks for.
        centre: [d] mean of the rows fitted on.
        means: mean projection on the unit direction of rows of that class, and of the others.
        trained: digests of the texts fitted on.
    """

    probe: Probe
    site: Site
    position: str
    classes: tuple[str, ...]
    toward: int
    centre: Floats
    means: tuple[float, float]
    trained: frozenset[str]
    method: str

    @property
    def direction(self) -> Floats:
        """[d] of length 1, towards the class."""
        found = self.probe.directions()[self.toward]
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-300), dtype=np.float64)


def placed(
    probe: Probe, x: Floats, given: Labelled, rows: Bools, site: Site, position: str, toward: int, method: str
) -> Placed:
    """A probe fitted on the rows chosen of x [row d]; means and digests are theirs alone."""
    draft = Placed(probe, site, position, given.classes, toward, x[rows].mean(axis=0), (0.0, 0.0), frozenset(), method)
    along, mine = x[rows] @ draft.direction, given.targets[rows][:, toward]
    means = float(along[mine].mean()), float(along[~mine].mean())
    trained = frozenset(digest(one) for one, inside in zip(given.items, rows, strict=True) if inside)
    return Placed(**{**vars(draft), "means": means, "trained": trained})


def digest(item: Item) -> str:
    """Of the first tokens, to tell a text that a probe was fitted on, also where more or less of it is read."""
    return hashlib.sha256(",".join(map(str, item.ids[:MARKED])).encode()).hexdigest()[:16]


def class_of(name: str | None, classes: Sequence[str]) -> int:
    """Its place; the last class where none is named, of two the second. Raises InputError offering the classes."""
    if name is None:
        return len(classes) - 1
    if name not in classes:
        raise unknown("class", name, classes)
    return list(classes).index(name)


def contents(model: Model, one: Placed, told: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, meta) of an artifact."""
    arrays = {"direction": one.direction, "weights": one.probe.weights, "bias": one.probe.bias, "centre": one.centre,
              "means": np.array(one.means)}  # fmt: skip
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    meta = {
        "model": model.identity.as_dict(), "site": one.site.name, "layer": one.site.layer, "position": one.position,
        "classes": list(one.classes), "class": one.classes[one.toward], "method": one.method, "link": one.probe.link,
        "trained": sorted(one.trained), **told,
    }  # fmt: skip
    return tensors, meta


def of_artifact(kept: Artifact, model: Model) -> Placed:
    """A kept probe. Raises InputError where it was fitted on another model, or its site or width is not this one's."""
    try:
        meta = kept.meta
        theirs, site, classes = dict(meta["model"]), Site.parse(meta["site"]), tuple(meta["classes"])
        arrays = {name: one.double().numpy() for name, one in kept.tensors.items()}
        probe = Probe(arrays["weights"], arrays["bias"], meta["link"])
        found = Placed(probe, site, meta["position"], classes, classes.index(meta["class"]), arrays["centre"],
                       (float(arrays["means"][0]), float(arrays["means"][1])), frozenset(meta["trained"]),
                       meta["method"])  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"artifact {kept.name!r} does not hold a probe: {error!r}") from error
    mine = model.identity.as_dict()
    if differing := [one for one in SAME if theirs.get(one) != mine[one]]:
        told = ", ".join(f"{one} {theirs.get(one)!r} (here {mine[one]!r})" for one in differing)
        raise InputError(f"probe {kept.name!r} was fitted on another model: {told}")
    site.check(model.geometry)
    if (width := channels(site, model)) != probe.weights.shape[1]:
        raise InputError(f"probe {kept.name!r} reads {probe.weights.shape[1]} channels; {site.label} has {width}")
    return found
