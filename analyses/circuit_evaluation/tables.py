"""Circuit evaluation's tables: each measure against size, found against random, and what the circuits are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._circuits.kept import Circuit
from analyses._circuits.pairs import PAIRS
from analyses._common import FOUND as COUNTED
from analyses._common import bounds
from analyses._contract import Column
from analyses._stats import Estimate, Floats, ratio_interval
from analyses.circuit_evaluation.circuits import ALONE, CUT, EMPTY, FOUND, FULL, WITHOUT, Masks

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec

FAITHFULNESS, COMPLETENESS, MINIMALITY = "faithfulness", "completeness", "minimality"
MEASURES = (FAITHFULNESS, COMPLETENESS, MINIMALITY)


def curves_table(values: pd.DataFrame, masks: Masks) -> pd.DataFrame:
    """The frame that `CURVES` declares. `values` holds pair, ablation, circuit and value."""
    rows = []
    for about, (numbers, whole) in _measured(values, masks):
        share = ratio_interval(numbers.mean(axis=1), whole)
        rows.append(about | _estimate(share) | {"draws": numbers.shape[1], "prompts": len(whole)})
    return pd.DataFrame(rows, columns=[column.name for column in CURVES])


def differences_table(values: pd.DataFrame, masks: Masks) -> pd.DataFrame:
    """The frame that `DIFFERENCES` declares: found less random, pair by pair."""
    both: dict[tuple[Any, ...], dict[str, tuple[dict[str, Any], Floats, Floats]]] = {}
    for about, (numbers, whole) in _measured(values, masks):
        key = (about["ablation"], about["measure"], about["size"])
        both.setdefault(key, {})[about["whose"]] = (about, numbers.mean(axis=1), whole)
    rows = []
    for pair in both.values():
        for control in [name for name in pair if name != FOUND and FOUND in pair]:
            about, mine, whole = pair[FOUND]
            gap = ratio_interval(mine - pair[control][1], whole)
            told = {name: about[name] for name in ("ablation", "measure", "size", "edges")} | {"control": control}
            rows.append(told | _estimate(gap) | {"prompts": len(whole)})
    return pd.DataFrame(rows, columns=[column.name for column in DIFFERENCES])


def circuits_table(masks: Masks) -> pd.DataFrame:
    """The frame that `CIRCUITS` declares: every circuit that was run, in the order of `values`' numbers."""
    table = masks.rows.rename_axis("circuit").reset_index()
    for name in ("size", "draw"):
        table[name] = table[name].astype("Int64").mask(table[name] < 0)
    return table[[column.name for column in CIRCUITS]]


def source_table(circuit: Circuit, spec: EvaluationSpec, scored: int, here: int) -> pd.DataFrame:
    """The frame that `SOURCE` declares: one row. `scored` pairs, `here` of them among the given ones."""
    told = (
        {"method": spec.method, "metric": spec.metric, "task": "these pairs"} if spec.circuit is None else circuit.about
    )
    row = {name: str(told.get(name, "not said")) for name in ("method", "metric", "task")}
    return pd.DataFrame([row | {"circuit": spec.circuit or "", "scored": scored, "here": here}])[
        [column.name for column in SOURCE]
    ]


def values_table(values: pd.DataFrame) -> pd.DataFrame:
    """The frame that `VALUES` declares."""
    return values[[column.name for column in VALUES]]


def _measured(values: pd.DataFrame, masks: Masks) -> list[tuple[dict[str, Any], tuple[Floats, Floats]]]:
    """Each measure of each circuit: (what it is, (numerators [pair draw], the whole effect [pair]))."""
    found = []
    for ablation, part in values.groupby("ablation", sort=False):
        table = part.pivot_table(index="pair", columns="circuit", values="value").to_numpy(dtype=np.float64)
        rows = masks.rows
        full, empty = (table[:, _numbers(rows, kind=kind)[0]] for kind in (FULL, EMPTY))
        for (size, whose), mine in rows[rows["whose"] != ""].groupby(["size", "whose"], sort=True):
            about = {"ablation": ablation, "whose": whose, "size": size, "edges": int(mine["edges"].iloc[0]),
                     "nodes": float(mine.loc[mine["kind"] == ALONE, "nodes"].mean())}  # fmt: skip
            alone, cut = (table[:, _numbers(mine, kind=kind)] for kind in (ALONE, CUT))
            less = _numbers(mine, kind=WITHOUT)
            numerators = {FAITHFULNESS: alone - empty[:, None], COMPLETENESS: full[:, None] - cut}
            if less:
                # Nodes were taken out of the first circuit alone.
                change = np.abs(table[:, less] - alone[:, :1])
                # Divided by the size of the whole effect: where cutting all edges helps it is below 0.
                numerators[MINIMALITY] = np.sign((full - empty).mean()) * change
            for measure, numbers in numerators.items():
                found.append((about | {"measure": measure}, (numbers, full - empty)))
    return found


def _numbers(rows: pd.DataFrame, kind: str) -> list[int]:
    return [int(number) for number in rows.index[rows["kind"] == kind]]


def _estimate(found: Estimate) -> dict[str, float]:
    return {"mean": float(found.value), "low": float(found.low), "high": float(found.high)}


_ABLATION = Column("ablation", "", "what edges outside the circuit carry: resample, mean or zero")
_SIZE = Column("size", "count", "edges asked for, before pruning")
_EDGES = Column("edges", "count", "edges of the circuit")
CURVES = (
    _ABLATION,
    Column("measure", "", "faithfulness, completeness or minimality"),
    Column("whose", "", "found; or random, of as many edges, drawn anywhere or between the found one's nodes"),
    _SIZE,
    _EDGES,
    Column("nodes", "count", "nodes of the circuit, mean over draws"),
    Column("mean", "fraction", "share of the whole effect, ratio of means over held-out pairs"),
    *bounds("fraction", over="pairs"),
    Column("draws", "count", "random circuits, or nodes taken out, that each pair's number is a mean of"),
    COUNTED[1],
)
DIFFERENCES = (
    _ABLATION,
    CURVES[1],
    _SIZE,
    _EDGES,
    Column("control", "", "which random circuits it is compared with"),
    Column("mean", "fraction", "found less random (mean of its draws), pair by pair"),
    *bounds("fraction", over="pairs"),
    COUNTED[1],
)
CIRCUITS = (
    Column("circuit", "", "number"),
    Column("kind", "", "all edges, no edge, circuit alone, model without circuit, or circuit less a node"),
    Column("whose", "", "found, or random as in curves; empty for all edges and none"),
    _SIZE,
    Column("draw", "", "which random circuit, from 0; missing for found ones"),
    Column("node", "", "the node taken out"),
    _EDGES,
    Column("nodes", "count", "its nodes"),
)
VALUES = (
    Column("pair", "", "pair number"),
    _ABLATION,
    Column("circuit", "", "number in circuits"),
    Column("value", "metric", "the metric with only that circuit's edges uncut"),
)
SOURCE = (
    Column("circuit", "", "the kept circuit; empty where edges were scored here"),
    Column(
        "method", "", "how its edges were scored; acdc ranks none, so its circuit is measured at its own size alone"
    ),
    Column("metric", "", "what edges were scored by"),
    Column("task", "", "what pairs they were scored on"),
    Column("scored", "count", "pairs that they were scored on; 0: the kept circuit does not say"),
    Column("here", "count", "how many of these are among the given ones"),
)
COLUMNS = {
    "curves": CURVES,
    "differences": DIFFERENCES,
    "circuits": CIRCUITS,
    "pairs": PAIRS,
    "values": VALUES,
    "source": SOURCE,
}
