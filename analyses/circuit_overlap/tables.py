"""Circuit overlap's tables: the circuits, what any two share, their rank correlations, members, and the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses._circuits.pairs import PAIRS
from analyses._circuits.selection import ends
from analyses._contract import Column
from analyses._stats import Bools, Floats
from analyses.circuit_overlap.comparing import MEASURES, SETS, WHAT
from analyses.circuit_overlap.ranking import MEASURES as RANKED
from analyses.circuit_overlap.ranking import SHUFFLES
from analyses.circuit_overlap.selections import Circuits, Prompts
from analyses.circuit_overlap.sides import Side
from hooks.edges import EdgeGraph

ALL, EITHER = "all edges", "edges of either circuit"
Made = dict[int | None, Circuits]


def heads_of(graph: EdgeGraph) -> Bools:
    """[node] which are heads."""
    return np.array([*(one.kind == "head" for one in graph.sources), False])


def circuits_table(sides: Sequence[Side], made: Sequence[Made]) -> pd.DataFrame:
    """The frame that `CIRCUITS` declares."""
    rows: list[dict[str, Any]] = []
    for side, circuits in zip(sides, made, strict=True):
        heads = heads_of(side.graph)
        for size, one in circuits.items():
            inside = one.whole.inside
            rows.append({
                "circuit": side.name, "where": side.where, "model": side.model, "task": side.task,
                "method": side.method, "metric": side.metric, "pairs": side.pairs,
                "preferred": side.preferred, "asked": size,
                "edges": len(one.whole.edges), "nodes": int(inside.sum()), "heads": int((inside & heads).sum()),
            })  # fmt: skip
    return _whole(pd.DataFrame(rows, columns=[column.name for column in CIRCUITS]), "pairs", "preferred", "asked")


def overlap_rows(first: Side, second: Side, size: int | None, columns: dict[str, Floats]) -> list[dict[str, Any]]:
    """Rows of the frame that `OVERLAP` declares, of two circuits of one size."""
    return [
        {"first": first.name, "second": second.name, "asked": size, "what": what, "measure": measure,
         **{name: float(values[i, j]) for name, values in columns.items()}, "prompts": prompts_of(first, second)}
        for i, what in enumerate(WHAT) for j, measure in enumerate(MEASURES)
    ]  # fmt: skip


def rank_rows(first: Side, second: Side, size: int | None, columns: dict[str, Floats]) -> list[dict[str, Any]]:
    """Rows of the frame that `RANKS` declares, over all edges where there is no size."""
    return [
        {"first": first.name, "second": second.name, "over": ALL if size is None else EITHER, "asked": size,
         "measure": measure, **{name: float(values[i]) for name, values in columns.items()},
         "prompts": prompts_of(first, second)}
        for i, measure in enumerate(RANKED)
    ]  # fmt: skip


def prompts_of(first: Side, second: Side) -> int | None:
    """Different pairs behind a comparison; none where one side's scores by pair were not kept."""
    return len({*first.seen, *second.seen}) if first.seen and second.seen else None


def rows_frame(rows: list[dict[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """A frame of declared columns; what is absent is NULL."""
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return _whole(frame, "asked", "prompts")


def members_table(sides: Sequence[Side], made: Sequence[Made]) -> pd.DataFrame:
    """The frame that `MEMBERS` declares: the heads and MLPs of every circuit."""
    parts = [_members(side, size, one) for side, circuits in zip(sides, made, strict=True)
             for size, one in circuits.items()]  # fmt: skip
    return _whole(pd.concat(parts, ignore_index=True), "asked", "layer", "head")


def _members(side: Side, size: int | None, one: Circuits) -> pd.DataFrame:
    graph = side.graph
    source, place = ends(graph)
    leaving = np.bincount(source[one.whole.edges], minlength=len(graph.nodes))
    fed, entering = np.bincount(place[one.whole.edges], minlength=len(graph.inputs)), np.zeros_like(leaving)
    for number, owners in enumerate(graph.feeds):
        entering[list(owners)] += fed[number]
    rows = np.flatnonzero(one.whole.inside)
    kinds = [graph.sources[row] for row in rows]
    return pd.DataFrame({
        "circuit": side.name, "asked": size, "node": [graph.nodes[row] for row in rows],
        "kind": [one.kind for one in kinds], "layer": [one.layer for one in kinds],
        "head": pd.array([one.head for one in kinds], dtype="Int64"), "edges_in": entering[rows],
        "edges_out": leaving[rows],
    })  # fmt: skip


def _whole(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].astype("Int64") for name in names})


def blocks_note(prompts: Prompts) -> str:
    """How prompts are left out, for a picture."""
    alone = len(prompts.block) == len(prompts.sample)
    return "one prompt pair left out at a time" if alone else "a block of prompt pairs left out at a time"


_ASKED = Column("asked", "count", "edges asked for, before pruning; missing: the circuits as they were kept")
_TWO = (
    Column("first", "", "one circuit"),
    Column("second", "", "the other"),
)
_HALVES = (
    Column("halves", "fraction", "the same between a half of one's pairs and the other half of the other's; mean"),
    Column("ceiling_first", "fraction", "of two halves of the first's own pairs; missing if some half gave no circuit"),
    Column("ceiling_second", "fraction", "between two halves of the second's own pairs"),
)
_PROMPTS = Column("prompts", "count", "different pairs behind it; missing where scores by pair were not kept")
CIRCUITS = (
    Column("circuit", "", "its name"),
    Column("where", "", "made from these pairs, or kept"),
    Column("model", "", "whose it is"),
    Column("task", "", "set or file of its pairs, and their label"),
    Column("method", "", "how edges were scored"),
    Column("metric", "", "what they are worth, a goodness"),
    Column("pairs", "count", "pairs that it was scored on; missing where that is not known"),
    Column("preferred", "count", "those of them in which the model prefers the answer to the distractor"),
    _ASKED,
    Column("edges", "count", "edges in it"),
    Column("nodes", "count", "heads and MLPs in it"),
    Column("heads", "count", "heads in it"),
)
OVERLAP = (
    *_TWO,
    _ASKED,
    Column("what", "", "edges; nodes (heads and MLPs); heads"),
    Column("measure", "", "Jaccard: both over either; share of first: both over first; share of second"),
    Column("mean", "fraction", "the overlap of the circuits of all pairs"),
    Column("low", "fraction", "lower end of its 95% interval over pairs; missing where it cannot be had"),
    Column("high", "fraction", "upper end"),
    *_HALVES,
    Column("random", "fraction", "between random circuits of as many edges; mean over draws"),
    Column("random_low", "fraction", "lower end of the middle 95% of draws"),
    Column("random_high", "fraction", "upper end"),
    Column("sets", "fraction", f"between random sets of as many heads and MLPs; mean of {SETS}; missing for edges"),
    Column("sets_low", "fraction", "lower end of the middle 95% of draws"),
    Column("sets_high", "fraction", "upper end"),
    _PROMPTS,
)
RANKS = (
    *_TWO,
    Column("over", "", f"{ALL}, or {EITHER}"),
    Column("asked", "count", "edges of each circuit, before pruning; missing for all edges"),
    Column("measure", "", "Spearman's rank correlation of |score| (size), or of the score with its sign"),
    Column("mean", "correlation", "of the mean scores of all pairs"),
    Column("low", "correlation", "lower end of its 95% interval over pairs; missing where it cannot be had"),
    Column("high", "correlation", "upper end"),
    *(Column(one.name, "correlation", one.description) for one in _HALVES),
    Column("shuffled", "correlation", f"with the second's scores dealt out anew over all edges; mean of {SHUFFLES}"),
    Column("shuffled_low", "correlation", "lower end of the middle 95% of draws"),
    Column("shuffled_high", "correlation", "upper end"),
    _PROMPTS,
)
MEMBERS = (
    Column("circuit", "", "its name"),
    _ASKED,
    Column("node", "", "L9H6 or MLP9, in the circuit"),
    Column("kind", "", "head or mlp"),
    Column("layer", "", "its layer"),
    Column("head", "", "its query head; missing for MLPs"),
    Column("edges_in", "count", "edges that enter it; one into a group's key or value enters each of its heads"),
    Column("edges_out", "count", "edges that leave it"),
)
COLUMNS = {
    "circuits": CIRCUITS, "overlap": OVERLAP, "ranks": RANKS, "members": MEMBERS,
    "pairs": (Column("model", "", "which model read them"), *PAIRS),
}  # fmt: skip
