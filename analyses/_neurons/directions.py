"""A neuron's directions in the residual stream: what it writes, and what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from hooks.errors import unknown

if TYPE_CHECKING:
    from hooks.model import Model

Direction = Literal["out", "in", "gate"]
NormUse = Literal["final", "none"]


def directions_of(model: Model) -> tuple[Direction, ...]:
    """out: what a neuron writes; in: what it reads; gate: what opens it, in gated MLPs only."""
    return ("out", "in", "gate") if model.geometry.gated_mlp else ("out", "in")


def chosen_directions(model: Model, asked: Sequence[str]) -> tuple[Direction, ...]:
    """Those asked for, in their usual order; all where none is. Raises InputError for "gate" without a gate."""
    there = directions_of(model)
    for name in asked:
        if name not in there:
            raise unknown("direction of this model's neurons", name, there)
    return tuple(name for name in there if not asked or name in asked)


def rows(model: Model, layer: int, direction: Direction, norm: NormUse = "none") -> Tensor:
    """[d_mlp d_model] in fp32, a neuron a row, to be multiplied by the unembedding.

    With norm "none" the weights as they stand. With "final" what the final norm makes of a direction but for its
    scale, which depends on the whole residual: centred where it is a LayerNorm, times the norm's weight. What a neuron
    reads has its own layer's norm taken in first, so that it is a direction of the residual and not of the normalised
    state. Raises InputError for a layer that is not there, or a gate that this model has not.
    """
    if direction == "out":
        found: Tensor | None = model.W_out(layer)
    else:
        read = model.W_in(layer) if direction == "in" else model.W_gate(layer)
        found = None if read is None else read.T
    if found is None:
        raise unknown("direction of this model's neurons", direction, directions_of(model))
    found = found.float()
    if norm == "final" and direction != "out":
        own = model.norm(layer, "ln2")
        found = own.centre(found * own.weight)
    return through_final_norm(model, found, norm)


def through_final_norm(model: Model, directions: Tensor, norm: NormUse) -> Tensor:
    """[row d_model]: directions of the residual as they are, or centred and weighted as the final norm does."""
    if norm == "none":
        return directions.contiguous()
    last = model.norm(None)
    return (last.centre(directions) * last.weight).contiguous()
