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
from hooks.dictionaries.placed import known, unlike
from hooks.errors import InputError, unknown
from hooks.sites import Site

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

KIND = "probe"
MARKED = 8
"""First tokens by which a text is known again: the fewest that any reading may take."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A probe with its place and what its direction needs to be applied.

    Attributes:
        classes: names [class].
        toward: place of the class that the direction speaks for.
        centre: [d] mean of the rows fitted on.
        means: mean projection on the unit direction of rows of that class, and of the others.
        trained: digests of the texts fitted on.
        groups: digests of their groups.
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
    groups: frozenset[str] = frozenset()

    @property
    def direction(self) -> Floats:
        """[d] of length 1, towards the class."""
        found = self.probe.directions()[self.toward]
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-300), dtype=np.float64)

    def targets(self, items: Sequence[Item]) -> Bools:
        """[row class] which of its classes count for each item; one of several names is enough."""
        return np.array([[name in item.classes for name in self.classes] for item in items], dtype=bool)

    def knows(self, item: Item) -> bool:
        """Whether it was fitted on this text, or on another one of its group."""
        return digest(item) in self.trained or group_digest(item) in self.groups


def placed(
    probe: Probe, x: Floats, given: Labelled, rows: Bools, site: Site, position: str, toward: int, method: str
) -> Placed:
    """A probe fitted on the rows chosen of x [row d]; means and digests are theirs alone."""
    draft = Placed(probe, site, position, given.classes, toward, x[rows].mean(axis=0), (0.0, 0.0), frozenset(), method)
    along, mine = x[rows] @ draft.direction, given.targets[rows][:, toward]
    means = float(along[mine].mean()), float(along[~mine].mean())
    fitted = [one for one, inside in zip(given.items, rows, strict=True) if inside]
    trained, groups = frozenset(map(digest, fitted)), frozenset(map(group_digest, fitted))
    return Placed(**{**vars(draft), "means": means, "trained": trained, "groups": groups})


def digest(item: Item) -> str:
    """Of the first tokens, to tell a text that a probe was fitted on, also where more or less of it is read."""
    return hashlib.sha256(",".join(map(str, item.ids[:MARKED])).encode()).hexdigest()[:16]


def group_digest(item: Item) -> str:
    """Of the name of its group, to tell a text whose group a probe was fitted on."""
    return hashlib.sha256(item.group.encode()).hexdigest()[:16]


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
        "trained": sorted(one.trained), "groups": sorted(one.groups), **told,
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
                       meta["method"], frozenset(meta.get("groups", ())))  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"artifact {kept.name!r} does not hold a probe: {error!r}") from error
    if told := unlike(known(theirs), model):
        raise InputError(f"probe {kept.name!r} was fitted on a model of {told[0]}; the loaded one has {told[1]}")
    site.check(model.geometry)
    if (width := channels(site, model)) != probe.weights.shape[1]:
        raise InputError(f"probe {kept.name!r} reads {probe.weights.shape[1]} channels; {site.label} has {width}")
    return found
