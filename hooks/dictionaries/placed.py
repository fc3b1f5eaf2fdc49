"""A dictionary with its place in a model: what it reads, what it writes, and whose activations it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hooks.dictionaries.dictionary import Dictionary
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

SAME = ("name", "revision", "quantisation", "processing")
"""What of a model's identity decides whether a dictionary fits it; the number format does not."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A dictionary at a site.

    Attributes:
        dictionary: the numbers.
        reads: the site whose activation is encoded.
        writes: the site whose activation is reconstructed; the same one for an autoencoder.
        model: identity of the model it was made for, as far as it is known.
        about: how it was made, plain JSON.
    """

    dictionary: Dictionary
    reads: Site
    writes: Site
    model: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def transcodes(self) -> bool:
        """Whether it writes elsewhere than it reads."""
        return self.reads != self.writes

    def check(self, model: Model) -> None:
        """Raise InputError where it was made for another model, or its widths or sites are not this model's."""
        if told := unlike(known(self.model), model):
            raise InputError(f"this dictionary was made for a model of {told[0]}; the loaded one has {told[1]}")
        for site, width, does in (
            (self.reads, self.dictionary.d_in, "reads"),
            (self.writes, self.dictionary.d_out, "writes"),
        ):
            site.check(model.geometry)
            found = channels(site, model)
            if found != width:
                raise InputError(f"this dictionary {does} {width} channels; {site.name} of this model has {found}")


def known(identity: Mapping[str, str]) -> dict[str, str]:
    """The fields of an identity that say something: files of other tools leave some empty."""
    return {name: said for name, said in identity.items() if said}


def unlike(theirs: Mapping[str, Any], model: Model) -> tuple[str, str] | None:
    """What of another model's identity, in the fields it has, is not this model's: (theirs, this one's) in words."""
    mine = model.identity.as_dict()
    differing = [one for one in SAME if one in theirs and theirs[one] != mine[one]]
    if not differing:
        return None
    first, second = (", ".join(f"{one} {said[one]!r}" for one in differing) for said in (theirs, mine))
    return first, second


def channels(site: Site, model: Model) -> int:
    """Channels of a site's vectors; heads are laid side by side."""
    shape = site.shape(model.geometry, 1, 1)
    return shape[-1] if len(shape) == 3 or site.head is not None else shape[-2] * shape[-1]
