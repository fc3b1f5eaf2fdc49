"""The nodes that a method is wrong about, in their layers, with the edges between them; and how to ablate one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._circuits.drawing import graph_frames
from analyses._contract import Frames
from analyses._graphs import drawn
from analyses._patching_table import ROUNDING
from analyses._plots import graph
from analyses.circuit_agreement.scoring import TRUTH, WORDS
from analyses.circuit_agreement.tables import MISSED, OVERRATED

if TYPE_CHECKING:
    from analyses.circuit_agreement import CircuitAgreementSpec

ENDS = ("embed", "logits")
KINDS = (MISSED, OVERRATED, *ENDS)
"""In this order, so that each has its colour and shape whatever others there are."""
NOTHING = "No rank differs by half or more"
_NODE = ["node", "kind", "layer", "head", "total"]


def where(frames: Frames, spec: CircuitAgreementSpec, method: str, whose: str) -> go.Figure:
    """The disagreements of a method as a graph; a click on a node leads to its real ablation."""
    about, wrong = frames["about"].iloc[0], frames["disagreements"]
    wrong = wrong[wrong["method"] == method]
    nodes, links, axes = _graph(frames, wrong)
    # Nodes without an edge are told too.
    view = spec.model_copy(update={"pinned": tuple(dict.fromkeys((*spec.pinned, *wrong["node"])))})
    pruned, shown, note = drawn(nodes, links, view)
    pruned = pruned.assign(kind=pd.Categorical(pruned["kind"].astype(str), categories=list(KINDS)))
    pruned, axes = _evenly(pruned, axes)
    name = WORDS[method]
    told = f"Missed: ablation ranks the node higher than {name}; overrated: lower" if len(wrong) else NOTHING
    return graph(
        pruned, shown, title=f"Where {name} and ablation disagree, and what lies between",
        value_title=f"true effect ({about['unit']})", focus=spec.focus, note=note,
        weight_title=f"score by {WORDS.get(about['edges'], 'no method')} ({about['unit']})",
        legend=f"{whose}. {told}. An edge's score says what corrupting it does: red, it helps", **axes,
    )  # fmt: skip


def _evenly(nodes: pd.DataFrame, axes: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and columns that have nodes, and no others: each takes the same room, and all are labelled."""
    if nodes.empty:
        return nodes, axes
    for place, labels in (("row", "y_labels"), ("column", "x_labels")):
        used = sorted(set(nodes[place]))
        nodes = nodes.assign(**{place: [used.index(one) for one in nodes[place]]})
        axes = axes | {labels: [axes[labels][one] for one in used]}
    return nodes, axes | {name: f"{axes[name]} (those with a node)" for name in ("x_title", "y_title")}


def _graph(frames: Frames, wrong: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """(nodes, edges, axes): the disagreements, of the kind of their mistake, embedding and logits where edges reach."""
    truth = frames["nodes"][frames["nodes"]["method"] == TRUTH].rename(columns={"mean": "total"})
    nothing = pd.array([None] * len(ENDS), dtype="Int64")
    outer = pd.DataFrame({"node": ENDS, "kind": ENDS, "layer": nothing, "head": nothing, "total": np.nan})
    known = pd.concat([truth[_NODE].astype({"layer": "Int64", "head": "Int64"}), outer[_NODE]], ignore_index=True)
    chosen = {*wrong["node"], *ENDS}
    feeds = [",".join(one for one in row.split(",") if one in chosen) for row in frames["edges"]["feeds"]]
    # As in the circuit's picture: an edge into a group is shared by its heads that are drawn.
    scores = frames["edges"]["score"] / [1 + row.count(",") for row in feeds]
    edges = frames["edges"].assign(feeds=feeds, score=scores)[["source", "feeds", "score"]]
    edges = edges[edges["source"].isin(chosen) & (edges["feeds"] != "")]
    # An edge of every node to itself gives each its place; it is taken out again.
    itself = pd.DataFrame({"source": known["node"], "feeds": known["node"], "score": 0.0})
    nodes, links, axes = graph_frames(known, pd.concat([edges, itself], ignore_index=True))
    links = links[(links["source"] != links["target"]) & (links["weight"].abs() > ROUNDING)].reset_index(drop=True)
    how = dict(zip(wrong["node"], wrong["how"], strict=True))
    told = dict(zip(wrong["node"], _told(wrong), strict=True))
    reached = {*links["source"], *links["target"]} & set(ENDS)
    nodes = nodes[nodes["node"].isin({*how, *reached})]
    names = nodes["node"].tolist()
    nodes = nodes.assign(kind=[how.get(one, one) for one in names], hover=[told.get(one, "") for one in names])
    return nodes.reset_index(drop=True), links, axes


def _told(wrong: pd.DataFrame) -> list[str]:
    columns = (wrong[name] for name in ("true_rank", "rank", "score", "sign"))
    return [
        f"rank by ablation {true}, by {WORDS[method]} {rank}\nscore {score:.3g}, sign: {sign}"
        for true, rank, score, sign, method in zip(*columns, wrong["method"], strict=True)
    ]


def detail(frames: Frames, _spec: CircuitAgreementSpec, figure: str, node: str, _row: str) -> pd.DataFrame | None:
    """Behind a node of `where`: what every method says of it."""
    if figure != "where":
        return None
    rows = frames["nodes"][frames["nodes"]["node"] == node]
    rows = rows.assign(method=rows["method"].map(WORDS))
    return rows[["method", "mean", "low", "high", "rank"]].reset_index(drop=True)


def ablation_of(frames: Frames, _spec: CircuitAgreementSpec, node: str) -> tuple[str, Mapping[str, Any]] | None:
    """The analysis that corrupts a head or an MLP for real, in its layer; nothing does so for embedding and logits."""
    nodes = frames["nodes"]
    found: list[dict[Any, Any]] = nodes[nodes["node"] == node].head(1).to_dict("records")
    if not found:
        return None
    kind = "heads" if found[0]["kind"] == "head" else "mlp_out"
    return "component_ablation", {
        "components": [kind], "layers": [int(found[0]["layer"])], "ablation": "resample", "top": 0,
        "metric": str(frames["about"]["metric"].iloc[0]),
    }  # fmt: skip
