"""Circuit evaluation's pictures: each measure against the number of edges, found and random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._circuits.scoring import WORDS
from analyses._common import sample_note
from analyses._contract import Frames
from analyses._plots import lines
from analyses.circuit_evaluation.circuits import ACDC, CONTROLS, FOUND
from analyses.circuit_evaluation.tables import COMPLETENESS, FAITHFULNESS, MINIMALITY

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec

UNSURE, SYMBOLS = "#777777", ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "circle-open")
NAMES = (FAITHFULNESS, COMPLETENESS, MINIMALITY)
TITLES = {FAITHFULNESS: "What the circuit does alone", COMPLETENESS: "What is gone without the circuit",
          MINIMALITY: "What one node of the circuit is worth"}  # fmt: skip
AXES = {FAITHFULNESS: "faithfulness (share of the effect)", COMPLETENESS: "completeness (share of the effect)",
        MINIMALITY: "|change of faithfulness| without a node"}  # fmt: skip
LEGENDS = {
    FAITHFULNESS: "All edges outside are cut. 1: as the whole model; 0: as with every edge cut. Random circuits "
    "have as many edges as the found ones",
    COMPLETENESS: "Only the circuit's edges are cut. 1: nothing of the effect is left; 0: all of it is",
    MINIMALITY: "One node's edges are cut too, mean over the nodes drawn; near 0: most nodes are not needed",
}


def figures(frames: Frames, spec: EvaluationSpec) -> dict[str, go.Figure]:
    """One figure a measure."""
    return {measure: _curve(frames, spec, measure) for measure in NAMES}


def _curve(frames: Frames, spec: EvaluationSpec, measure: str) -> go.Figure:
    curves = frames["curves"]
    rows = curves[(curves["measure"] == measure) & (curves["edges"] > 0)]
    several = curves["ablation"].nunique() > 1
    rows = rows.assign(group=[_group(row, several) for row in rows.to_dict("records")])
    unsure = np.isinf(rows["low"].to_numpy(dtype=float))
    # Shares of what may be nothing would set the scale of the others.
    omitted = bool(unsure.any() and not unsure.all())
    drawn = rows[~unsure] if omitted else rows
    notes = [f"{_whose(frames)}. {LEGENDS[measure]}", *_unbounded(rows[unsure], omitted), *_bands(drawn, measure),
             *_missing(curves, spec), *_unused(frames, spec)]  # fmt: skip
    figure = lines(
        drawn, x="edges", y="mean", low="low", high="high", group="group", title=f"{TITLES[measure]}, by its size",
        x_title="edges of the circuit", y_title=AXES[measure], legend=". ".join(notes),
    )  # fmt: skip
    if unsure.any() and not omitted:
        _grey(figure)
    ticks = [scale * 10**power for power in range(7) for scale in (1, 2, 5)]
    return figure.update_xaxes(type="log", dtick=None, tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])


def _grey(figure: go.Figure) -> None:
    """Lines told apart by their marks alone."""
    for number, line in enumerate(one for one in figure.data if one.fill is None):
        mark = {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8, "color": UNSURE}
        line.update(line={"color": UNSURE, "dash": "dot"}, marker=mark)


def _unbounded(rows: pd.DataFrame, omitted: bool) -> list[str]:
    """Where m(M) − m(∅) may be 0 every share of it is possible."""
    if not len(rows):
        return []
    whose = f" of ablation {', '.join(dict.fromkeys(rows['ablation']))}" if omitted else ""
    shown = "not drawn, see the table curves" if omitted else "drawn grey"
    return [f"The whole effect{whose} cannot be told from 0: no interval, {shown}"]


def _bands(rows: pd.DataFrame, measure: str) -> list[str]:
    """What the bands are of, where there are any."""
    if not np.isfinite(rows["low"].to_numpy(dtype=float)).any():
        return []
    drawn = rows[rows["whose"] != FOUND]
    if measure == MINIMALITY:
        return ["Bands: 95% intervals over pairs, for the nodes drawn; other nodes differ more"]
    if not len(drawn):
        return ["Bands: 95% intervals over pairs"]
    draws = int(drawn["draws"].iloc[0])
    which = "the one drawn" if draws == 1 else f"the mean of the {draws} drawn"
    return [f"Bands: 95% intervals over pairs; random circuits: of {which}, other draws differ more"]


def _missing(curves: pd.DataFrame, spec: EvaluationSpec) -> list[str]:
    """Sizes that have no circuit, or no random one."""
    found, told = curves[curves["whose"] == FOUND], []
    gone = int((found["edges"] == 0).groupby(found["size"]).any().sum())
    if gone:
        told.append(f"{gone} of the sizes left no edge after pruning and are not drawn")
    asked = found.loc[found["edges"] > 0].drop_duplicates("size")
    for name in (CONTROLS[control] for control in dict.fromkeys(spec.controls)):
        there = set(curves.loc[curves["whose"] == name, "size"])
        none = [f"{edges:,}" for size, edges in zip(asked["size"], asked["edges"], strict=True) if size not in there]
        if none:
            told.append(f"No {name.replace('random', 'random circuit', 1)} of {', '.join(none)} edges was found")
    return told


def _unused(frames: Frames, spec: EvaluationSpec) -> list[str]:
    """Options that a kept circuit leaves without effect."""
    if spec.circuit is None:
        return []
    names = ["method", "steps", "points", "layers"]
    told = []
    if frames["source"]["method"].iloc[0] == ACDC:
        names += ["sizes", "selection"]
        told = ["ACDC ranks no edges: its circuit is measured at its own size alone"]
    given = [name for name in names if getattr(spec, name) != type(spec).model_fields[name].default]
    return told + ([f"Not used, as the circuit is a kept one: {', '.join(given)}"] if given else [])


def _group(row: dict[str, object] | dict[object, object], several: bool) -> str:
    name = {"found": "found circuits", "random": "random circuits"}.get(str(row["whose"]), str(row["whose"]))
    return f"{name}, {row['ablation']}" if several else name


def _whose(frames: Frames) -> str:
    pairs, counts = frames["pairs"], frames["pairs"]["use"].value_counts()
    measured = pairs[~pairs["use"].isin(["scored", "no effect"])]
    said = sample_note(measured["logit_diff"], dropped=int(counts.get("no effect", 0)), noun="prompt pair")
    if (pairs["use"] == "scored and measured").any():
        return f"{said}, which edges were scored on too: held-out pairs would say less"
    source = frames["source"].iloc[0]
    scored, here = int(source["scored"]), int(source["here"])
    if not scored:
        return f"{said}; the kept circuit does not say how many pairs its edges were scored on"
    others = ("other pair" if scored == 1 else "other pairs") + (
        " of these" if here == scored else f", {here or 'none'} of them given here"
    )
    method = WORDS.get(str(source["method"]), str(source["method"]))
    return f"{said}; edges were scored by {method} on {scored} {others}"
