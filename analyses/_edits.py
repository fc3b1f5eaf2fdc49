"""Edits along directions that leave a text's first token alone, and controls that move as far along others.

The first token's state is many times longer than the others' in most models, and directions are found without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.interventions import Intervention


@dataclass(frozen=True, eq=False)
class Edit(Intervention):
    """A change of every token's vector but the first one's; a lone token is a new one of a text, and is changed.

    Vectors are [d], heads side by side where the site has heads.
    """

    def moved(self, rows: Tensor) -> Tensor:
        """The new vectors of rows [… d] in fp32."""
        raise NotImplementedError

    def change(self, selected: Tensor) -> Tensor:
        """[batch pos …]; see `Intervention`."""
        rows = selected.flatten(2).float()
        moved = self.moved(rows)
        if rows.shape[1] > 1:
            moved = torch.cat([rows[:, :1], moved[:, 1:]], dim=1)
        return moved.view_as(selected)


@dataclass(frozen=True, eq=False)
class Within(Edit):
    """What another intervention makes of the vectors."""

    inner: Intervention

    def moved(self, rows: Tensor) -> Tensor:
        return self.inner.change(rows)


@dataclass(frozen=True, eq=False)
class ProjectOut(Edit):
    """Hold the part in a subspace at its value in `centre` [d]; `basis` [rank d] has orthonormal rows."""

    basis: Tensor
    centre: Tensor

    def moved(self, rows: Tensor) -> Tensor:
        basis = self.basis.to(rows)
        return rows - (rows - self.centre.to(rows)) @ basis.T @ basis


@dataclass(frozen=True, eq=False)
class Place(Edit):
    """Put the projection on a unit `direction` [d] at `value`."""

    direction: Tensor
    value: float

    def moved(self, rows: Tensor) -> Tensor:
        direction = self.direction.to(rows)
        return rows + (self.value - rows @ direction)[..., None] * direction


@dataclass(frozen=True, eq=False)
class Push(Edit):
    """Add `vector` [d]."""

    vector: Tensor

    def moved(self, rows: Tensor) -> Tensor:
        return rows + self.vector.to(rows)


@dataclass(frozen=True, eq=False)
class Redirected(Edit):
    """The control of an edit: every vector moves as far as `inner` would move it, along a unit `direction` [d].

    With `along` [d] it moves backwards where `inner` moves against that vector.
    """

    inner: Edit
    direction: Tensor
    along: Tensor | None = None

    def moved(self, rows: Tensor) -> Tensor:
        change = self.inner.moved(rows) - rows
        length = change.norm(dim=-1, keepdim=True)
        if self.along is not None:
            length = length * (change @ self.along.to(rows)).sign()[..., None]
        return rows + length * self.direction.to(rows)


def random_units(d: int, count: int, seed: int) -> Tensor:
    """[count d] unit vectors, evenly over the sphere; the same for a seed."""
    drawn = torch.randn(count, d, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=1, keepdim=True)
