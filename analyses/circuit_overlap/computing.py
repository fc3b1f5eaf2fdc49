"""Circuit overlap: make every side's circuits, compare every two of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from analyses._common import steps
from analyses._contract import Context, Frames, Inputs
from analyses.circuit_overlap.comparing import comparisons, overlap
from analyses.circuit_overlap.ranking import correlations
from analyses.circuit_overlap.selections import Prompts, circuits_of
from analyses.circuit_overlap.sides import NAMED, asked_sizes, kept_sides, own_sides
from analyses.circuit_overlap.tables import (
    COLUMNS,
    OVERLAP,
    RANKS,
    circuits_table,
    heads_of,
    members_table,
    overlap_rows,
    rank_rows,
    rows_frame,
)
from hooks.errors import InputError
from hooks.progress import Progress

if TYPE_CHECKING:
    from analyses.circuit_overlap import CircuitOverlapSpec
    from hooks.model import Model

_SCORED, _MADE = 0.6, 0.9


def run(model: Model, inputs: Inputs, spec: CircuitOverlapSpec, context: Context) -> Frames:
    """Compare circuits; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: fewer than two circuits, a kept one of another shape or other layers, a model of another shape,
            labels or sizes that are not there, a pair that does not align, or no pair with an effect to trace.
    """
    kept = kept_sides(model, spec, context)
    own, pairs = own_sides(model, inputs, spec, _part(context, 0.0, _SCORED))
    sides = [*own, *kept]
    names = [one.name for one in sides]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two circuits are called {doubled[0]!r}: keep one under another name")
    prompts = Prompts.of(sides, spec.splits, spec.draw_seed)
    fixed = [side.own_size for side in sides if side.own_size is not None]
    sizes: list[int | None] = [None, *sorted({*asked_sizes(sides[0].graph, spec.sizes), *fixed})]
    made = [
        circuits_of(side, number, prompts, sizes, spec.random_draws, spec.draw_seed, inner)
        for number, (side, inner) in enumerate(steps(context, sides, "circuit", first=_SCORED, last=_MADE))
    ]
    heads = heads_of(sides[0].graph)
    shared: list[dict[str, Any]] = []
    ranked: list[dict[str, Any]] = []
    for numbers, _ in steps(context, list(comparisons(len(sides))), "comparison", first=_MADE):
        one, other = (sides[number] for number in numbers)
        circuits = made[numbers[0]], made[numbers[1]]
        for size in [size for size in sizes if size in circuits[0] and size in circuits[1]]:
            columns = overlap(circuits[0][size], circuits[1][size], numbers, prompts, heads, spec.draw_seed)
            shared += overlap_rows(one, other, size, columns)
        # ACDC scores no edge that it dropped with its node: there is nothing to rank.
        if one.own_size is None and other.own_size is None:
            for size, columns in correlations((one, other), circuits, sizes, numbers, prompts, spec.draw_seed):
                ranked += rank_rows(one, other, size, columns)
    return {
        "circuits": circuits_table(sides, made), "overlap": rows_frame(shared, OVERLAP),
        "ranks": rows_frame(ranked, RANKS), "members": members_table(sides, made),
        "pairs": pairs[[column.name for column in COLUMNS["pairs"]]],
    }  # fmt: skip


def enough(inputs: Inputs, spec: CircuitOverlapSpec) -> None:
    """Raise InputError where fewer than two circuits would be compared."""
    labels = len({pair.label for pair in inputs.pairs}) if spec.by_label else 1
    models = 1 if spec.other_model is None else 2
    kept = sum(getattr(spec, option) is not None for option in NAMED)
    if len(spec.methods) * labels * models + kept < 2:
        raise InputError(
            "nothing to compare with: name a kept circuit (--first), two methods, another model of this shape "
            "(--other-model), or compare the labels of the pairs (--by-label)"
        )


def _part(context: Context, first: float, last: float) -> Context:
    """A context whose progress 0…1 is `first`…`last` of this one's."""
    told: Progress = context.progress
    return replace(context, progress=lambda part, words: told(first + (last - first) * part, words))
