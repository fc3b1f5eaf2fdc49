"""Circuit evaluation's pictures: each measure against the number of edges, found and random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analyses._common import sample_note
from analyses._contract import Frames
from analyses._plots import lines
from analyses.circuit_evaluation.tables import COMPLETENESS, FAITHFULNESS, MINIMALITY

if TYPE_CHECKING:
    from analyses.circuit_evaluation import EvaluationSpec

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


def figures(frames: Frames, _spec: EvaluationSpec) -> dict[str, go.Figure]:
    """One figure a measure."""
    return {measure: _curve(frames, measure) for measure in NAMES}


def _curve(frames: Frames, measure: str) -> go.Figure:
    curves = frames["curves"]
    rows = curves[(curves["measure"] == measure) & (curves["edges"] > 0)]
    several = rows["ablation"].nunique() > 1
    rows = rows.assign(group=[_group(row, several) for row in rows.to_dict("records")])
    gone = int((curves["edges"] == 0).groupby(curves["size"]).any().sum())
    note = f". {gone} of the sizes left no edge after pruning and are not drawn" if gone else ""
    figure = lines(
        rows, x="edges", y="mean", low="low", high="high", group="group", title=f"{TITLES[measure]}, by its size",
        x_title="edges of the circuit", y_title=AXES[measure], legend=f"{_whose(frames)}. {LEGENDS[measure]}{note}",
    )  # fmt: skip
    ticks = [scale * 10**power for power in range(7) for scale in (1, 2, 5)]
    return figure.update_xaxes(type="log", dtick=None, tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])


def _group(row: dict[str, object] | dict[object, object], several: bool) -> str:
    name = {"found": "found circuits", "random": "random circuits"}.get(str(row["whose"]), str(row["whose"]))
    return f"{name}, {row['ablation']}" if several else name


def _whose(frames: Frames) -> str:
    pairs, counts = frames["pairs"], frames["pairs"]["use"].value_counts()
    measured = pairs[~pairs["use"].isin(["scored", "no effect"])]
    said = sample_note(measured["logit_diff"], dropped=int(counts.get("no effect", 0)), noun="prompt pair")
    if (pairs["use"] == "scored and measured").any():
        return f"{said}, which edges were scored on too: held-out pairs would say less"
    scored = int(counts.get("scored", 0))
    return f"{said}; edges were scored on {scored if scored else 'no'} other pairs of these"
