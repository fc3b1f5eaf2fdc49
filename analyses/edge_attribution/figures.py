"""Edge attribution's pictures: the circuit as a graph, the scores by rank, and what leaves every head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._circuits.drawing import SIGNS, graph_frames
from analyses._circuits.pairs import LEFT_OUT
from analyses._circuits.scoring import WORDS
from analyses._common import sample_note
from analyses._contract import Frames
from analyses._graphs import drawn
from analyses._plots import graph, grid, lines, signed_heatmap
from analyses._plots.theme import NEGATIVE, POSITIVE
from analyses.edge_attribution import positions

if TYPE_CHECKING:
    from analyses.edge_attribution import EdgeAttributionSpec

NAMES = ("circuit", "scores", "heads")
METRIC_WORDS = {"logit_diff": "logit difference", "log_prob": "log-probability of the answer",
                "divergence": "closeness to the clean run (−KL)"}  # fmt: skip
HELPS, AGAINST = "helps (corrupting it harms)", "works against"
SUMMED = (
    "edges into the queries, keys and values of one head are one line; an edge into a group's key or value is shared "
    "evenly among those of its heads that are in the circuit"
)


def figures(frames: Frames, spec: EdgeAttributionSpec) -> dict[str, go.Figure]:
    """The circuit, the scores by rank, the heads' totals, and the scores by position where they were asked for."""
    whose = _whose(frames)
    made = {"circuit": _circuit(frames, spec, whose), "scores": _scores(frames, whose), "heads": _heads(frames, whose)}
    return made | ({positions.NAME: positions.picture(frames, whose)} if spec.by_position else {})


def pictures(spec: EdgeAttributionSpec) -> tuple[str, ...]:
    """Names of the pictures that these options make."""
    return (*NAMES, positions.NAME) if spec.by_position else NAMES


def _whose(frames: Frames) -> str:
    pairs, row = frames["pairs"], frames["circuit"].iloc[0]
    used = pairs[pairs["use"] != LEFT_OUT]
    said = sample_note(used["logit_diff"], dropped=len(pairs) - len(used), noun="prompt pair")
    return f"{said}. Scores by {WORDS[row['method']]} on {METRIC_WORDS[row['metric']]}"


def _circuit(frames: Frames, spec: EdgeAttributionSpec, whose: str) -> go.Figure:
    row = frames["circuit"].iloc[0]
    edges = frames["edges"]
    edges = edges[edges["kept"]].rename(columns={"mean": "score"})
    # Undivided, an edge into a group would count once a head.
    edges = edges.assign(score=edges["score"] / (edges["feeds"].str.count(",") + 1))
    nodes, links, axes = graph_frames(frames["nodes"].rename(columns={"mean": "total"}), edges)
    pruned, shown, note = drawn(nodes, links, spec)
    many = f"{len(links):,} lines for {row['kept']:,} edges"
    note = note.replace(f"of {len(links):,} edges", f"of {len(links):,} lines")
    return graph(
        pruned, shown, title=f"Circuit of {row['kept']:,} of {row['edges']:,} edges, {row['nodes']} nodes",
        value_title=f"sum of its outgoing scores ({row['unit']})", weight_title=f"score ({row['unit']})",
        legend=f"{whose}. {_alone(row)}. {SIGNS[0].upper()}{SIGNS[1:]}. {many}: {SUMMED}", focus=spec.focus, note=note,
        **axes,
    )  # fmt: skip


def _alone(row: Any) -> str:
    """What the circuit does by itself, in words."""
    if not row["kept"]:
        return "No circuit: the edges chosen make no way from the embedding to the logits"
    ends = [row["low"], row["high"]]
    bounds = f" ({row['low']:.2f} to {row['high']:.2f})" if np.isfinite(ends).all() else ""
    if np.isinf(ends).any():
        bounds = ", which may be anything, for the whole effect cannot be told from 0,"
    said = (
        f"The circuit alone: {row['circuit']:.2f} {row['unit']} (all edges {row['full']:.2f}, none "
        f"{row['empty']:.2f}), faithfulness {row['faithfulness']:.2f}{bounds} on these same pairs"
    )
    return said.replace("-", "−")


def _scores(frames: Frames, whose: str) -> go.Figure:
    """Sizes of the scores, strongest first, those that help and those that work against the answer apart."""
    edges, row = frames["edges"], frames["circuit"].iloc[0]
    shown = edges[edges["mean"] != 0]
    shown = shown.assign(size=shown["mean"].abs(), sign=np.where(shown["mean"] < 0, HELPS, AGAINST)).sort_values(
        ["sign", "rank"], kind="stable"
    )
    shown = shown.assign(place=shown.groupby("sign").cumcount() + 1)
    figure = lines(
        shown, x="place", y="size", group="sign", title="Scores of the edges, strongest first",
        x_title="place among the edges of its sign", y_title=f"|score| ({row['unit']})",
        legend=f"{whose}. The circuit has {row['kept']:,} edges; {len(edges):,} of {row['edges']:,} are listed",
    )  # fmt: skip
    wide = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000]
    high = [10.0**power for power in range(-8, 5)]
    # As in the graph and the heatmap, whatever signs there are.
    for sign, colour in ((HELPS, NEGATIVE), (AGAINST, POSITIVE)):
        figure.update_traces(line_color=colour, selector={"name": sign})
    figure.update_xaxes(type="log", dtick=None, tickvals=wide, ticktext=[f"{one:,}" for one in wide])
    return figure.update_yaxes(type="log", tickvals=high, ticktext=[f"{one:g}" for one in high])


def _heads(frames: Frames, whose: str) -> go.Figure:
    heads = frames["nodes"][frames["nodes"]["kind"] == "head"]
    heads = heads.assign(head=heads["head"].astype(int), layer=heads["layer"].astype(int))
    value, low, high = (grid(heads, x="head", y="layer", value=name) for name in ("mean", "low", "high"))
    unit = frames["circuit"]["unit"].iloc[0]
    return signed_heatmap(
        value, [str(head) for head in value.columns], [str(layer) for layer in value.index], x_title="head",
        y_title="layer", title="Scores of all edges that leave each head, summed", unit=f"sum of scores ({unit})",
        legend=f"{whose}. Red: corrupting what the head writes harms; blue: it works against the answer",
        low=low, high=high,
    )  # fmt: skip


def edges_of(frames: Frames, node: str) -> pd.DataFrame:
    """The circuit's edges at a node, strongest first: what the picture sums, apart."""
    edges = frames["edges"][frames["edges"]["kept"]]
    here = [
        source == node or node in feeds.split(",")
        for source, feeds in zip(edges["source"], edges["feeds"], strict=True)
    ]
    return edges.loc[here, ["edge", "mean", "low", "high", "rank"]].reset_index(drop=True)


def ablation_of(frames: Frames, _spec: EdgeAttributionSpec, node: str) -> tuple[str, Mapping[str, Any]] | None:
    """The analysis that corrupts a head or an MLP for real, in its layer; nothing does so for embedding and logits."""
    found: list[dict[Any, Any]] = frames["nodes"][frames["nodes"]["node"] == node].to_dict("records")
    if not found or found[0]["kind"] not in ("head", "mlp"):
        return None
    kind = "heads" if found[0]["kind"] == "head" else "mlp_out"
    options = {"components": [kind], "layers": [int(found[0]["layer"])], "ablation": "resample", "top": 0,
               "metric": "log_prob" if frames["circuit"]["metric"].iloc[0] == "log_prob" else "logit_diff"}  # fmt: skip
    return "component_ablation", options
