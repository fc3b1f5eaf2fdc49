"""Every circuit that a side gives: of all its pairs, without a block of them, of halves of them, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analyses._circuits.chance import random_circuit
from analyses._circuits.selection import nodes_of
from analyses._common import steps
from analyses._contract import Context
from analyses._stats import Bools, Floats
from analyses.circuit_overlap.sides import KEPT, Side
from hooks.edges import EdgeGraph
from hooks.errors import InputError

MOST_BLOCKS = 32
"""Blocks of prompts that are left out in turn: each prompt alone where there are no more."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """One circuit: `edges`, their numbers in order, and `inside` [node] without embedding and logits, always in."""

    edges: npt.NDArray[np.int64]
    inside: Bools


@dataclass(frozen=True)
class Prompts:
    """How the pairs of all sides are resampled, the same in every side that has them.

    Attributes:
        block: by a pair's digest, the block in which it is left out.
        sample: by block, the sides that have its pairs.
        halves: [split] by digest, 0 or 1.
    """

    block: dict[str, int]
    sample: dict[int, tuple[int, ...]]
    halves: tuple[dict[str, int], ...]

    @classmethod
    def of(cls, sides: Sequence[Side], splits: int, seed: int) -> Prompts:
        """Pairs in the same sides make a sample, which is cut into blocks and, for every split, into halves."""
        samples: dict[tuple[int, ...], list[str]] = {}
        for pair in dict.fromkeys(pair for side in sides for pair in side.seen):
            have = tuple(number for number, side in enumerate(sides) if pair in side.seen)
            samples.setdefault(have, []).append(pair)
        rng = np.random.default_rng(seed)
        block: dict[str, int] = {}
        sample: dict[int, tuple[int, ...]] = {}
        halves: list[dict[str, int]] = [{} for _ in range(splits)]
        for have, pairs in samples.items():
            first = len(sample)
            for place, at in enumerate(rng.permutation(len(pairs))):
                number = first + place % MOST_BLOCKS
                block[pairs[at]], sample[number] = number, have
            for half in halves:
                half.update({pairs[at]: place % 2 for place, at in enumerate(rng.permutation(len(pairs)))})
        return cls(block, sample, tuple(halves))


@dataclass(frozen=True, eq=False)
class Circuits:
    """A side's circuits of one size; `without` by block, `halves` [split] (one, other), `random` [draw]."""

    whole: Chosen
    without: dict[int, Chosen] = field(default_factory=dict)
    halves: tuple[tuple[Chosen, Chosen], ...] = ()
    random: tuple[Chosen, ...] = ()


def means_without(side: Side, prompts: Prompts) -> dict[int, Floats]:
    """By block, the mean scores [edge] of the pairs that are not in it; nothing where scores by pair are not there."""
    by_pair = side.circuit.pair_scores
    if by_pair is None or not side.seen:
        return {}
    blocks = np.array([prompts.block[pair] for pair in side.seen])
    different = np.unique(blocks)
    return {int(one): by_pair[blocks != one].mean(axis=0) for one in different} if len(different) > 1 else {}


def means_of_halves(side: Side, prompts: Prompts) -> list[tuple[Floats, Floats]]:
    """[split] mean scores [edge] of either half; nothing where a half is empty or scores by pair are not there."""
    by_pair, found = side.circuit.pair_scores, []
    for half in prompts.halves:
        at = np.array([half[pair] for pair in side.seen])
        if by_pair is None or len(set(at.tolist())) < 2:
            return []
        found.append((by_pair[at == 0].mean(axis=0), by_pair[at == 1].mean(axis=0)))
    return found


def circuits_of(
    side: Side, number: int, prompts: Prompts, sizes: Sequence[int | None], draws: int, seed: int, context: Context
) -> dict[int | None, Circuits]:
    """By size asked for; None is the circuit as it was kept, and is not there for others.

    ACDC gives no ranking, as what it dropped with a node has no score: its circuit is there at its own size alone.
    """
    without, halves = means_without(side, prompts), means_of_halves(side, prompts)
    found: dict[int | None, Circuits] = {}
    for place, (size, _) in enumerate(steps(context, sizes, "size")):
        own = side.own_size
        if (size is None and side.where != KEPT) or (own is not None and size not in (None, own)):
            continue
        whole = side.circuit.kept if size is None or own is not None else side.choose(side.circuit.scores, size)
        chosen = _chosen(side.graph, whole)
        again = (size is not None and own is None) or (
            bool(side.seen) and (side.choose(side.circuit.scores, None) == whole).all()
        )
        key = [seed, number, place]
        found[size] = Circuits(
            chosen,
            {block: _chosen(side.graph, side.choose(mean, size)) for block, mean in without.items()} if again else {},
            tuple((_chosen(side.graph, side.choose(one, size)), _chosen(side.graph, side.choose(other, size)))
                  for one, other in halves) if again else (),
            _random(side.graph, len(chosen.edges), draws, key),
        )  # fmt: skip
    return found


def _chosen(graph: EdgeGraph, kept: Bools) -> Chosen:
    inside = nodes_of(graph, kept)
    inside[[0, -1]] = False
    return Chosen(np.flatnonzero(kept), inside)


def _random(graph: EdgeGraph, size: int, draws: int, key: Sequence[int]) -> tuple[Chosen, ...]:
    """Random circuits of as many edges; none where no circuit of that size hangs together."""
    seeds = np.random.default_rng(list(key)).integers(2**31, size=draws)
    try:
        return tuple(_chosen(graph, random_circuit(graph, size, int(seed))) for seed in seeds)
    except InputError:
        return ()
