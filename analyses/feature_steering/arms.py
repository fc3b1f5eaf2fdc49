"""What is done at each strength: the latents edited, as long a change along random latents, and a direction added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyses._edits import Edit, Push, Redirected, Within
from analyses.feature_steering.features import Latents, unit
from hooks.dictionaries import Recode
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.feature_steering import FeatureSteeringSpec

LATENTS, RANDOM, DIRECTION, UNSTEERED = "latents", "random_latents", "direction", "unsteered"


@dataclass(frozen=True, eq=False)
class Arm:
    """One edit: its arm, strength, and which draw of the random latents; None for the others."""

    arm: str
    strength: float
    draw: int | None
    edit: Edit | None
    of: str = ""

    @property
    def edits(self) -> list[Edit]:
        """None or one."""
        return [] if self.edit is None else [self.edit]

    def row(self) -> dict[str, Any]:
        """Its coordinates in a table."""
        return {"arm": self.arm, "strength": self.strength, "draw": self.draw}


def strengths_of(spec: FeatureSteeringSpec) -> tuple[float, ...]:
    """Ascending and different; ablation has one, 0."""
    return (0.0,) if spec.mode == "ablate" else tuple(sorted(set(spec.strengths)))


def recoded(found: Latents, mode: str, strength: float) -> Within:
    """The latents' own edit: clamped at strength × their unit, scaled by it, or scaled by 0."""
    pairs = zip(found.chosen, found.units, strict=True)
    clamp = {one: strength * size for one, size in pairs} if mode == "clamp" else {}
    scale = {} if mode == "clamp" else dict.fromkeys(found.chosen, 0.0 if mode == "ablate" else strength)
    site = found.placed.reads
    return Within(site, Recode(site, found.placed.dictionary, clamp, scale))


def random_sets(found: Latents, draws: int, seed: int) -> list[tuple[int, ...]]:
    """As many latents as are steered, of those that fire, drawn for each control. Raises InputError for too few."""
    others = [one for one in found.density.nonzero()[:, 0].tolist() if one not in found.chosen]
    size = len(found.chosen)
    if len(others) < size:
        raise InputError(
            f"{len(others)} other latents fire on the reference text: too few to draw {size} as a control; read more "
            "text (--text, --reference-tokens)"
        )
    random = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(others), generator=random)[:size].tolist() for _ in range(draws)]
    return [tuple(others[place] for place in order) for order in orders]


def arms_of(found: Latents, spec: FeatureSteeringSpec) -> list[Arm]:
    """Unsteered first, then for every strength the latents, the random latents and the direction."""
    directions = found.placed.dictionary.directions
    sets = random_sets(found, spec.random_draws, spec.draw_seed)
    arms = [Arm(UNSTEERED, float("nan"), None, None)]
    for strength in strengths_of(spec):
        edit = recoded(found, spec.mode, strength)
        arms.append(Arm(LATENTS, strength, None, edit, _named(found.chosen)))
        for draw, several in enumerate(sets):
            away = unit(directions[list(several)].sum(dim=0))
            arms.append(
                Arm(RANDOM, strength, draw, Redirected(edit.site, edit, away, found.direction), _named(several))
            )
        arms.append(Arm(DIRECTION, strength, None, Push(edit.site, added(found, edit)), _named(found.chosen)))
    return arms


def added(found: Latents, edit: Edit) -> Tensor:
    """[d]: the latents' direction, as long as the edit moves a reference token in the mean, the same way."""
    change = edit.moved(found.rows) - found.rows
    towards = 1.0 if float((change @ found.direction).sum()) >= 0 else -1.0
    return found.direction * towards * change.norm(dim=1).mean()


def _named(latents: Sequence[int]) -> str:
    return ", ".join(map(str, latents))
