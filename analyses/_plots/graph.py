"""Graphs of nodes in layers: layers up, tokens or heads across, edges coloured by sign and as wide as they weigh."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analyses._plots.fit import fit
from analyses._plots.marks import LEGEND
from analyses._plots.theme import SIGNED, escape, template
from analyses._plots.tokens import elide
from analyses._plots.words import short

COLOURS = ("#009E73", "#E69F00", "#CC79A7", "#666666", "#56B4E9", "#000000")
"""Of kinds of nodes: Okabe and Ito's without the blue and the red that edges have."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")
STEPS = (0.125, 0.25, 0.5)
"""Shares of the largest weight at which an edge becomes wider."""
LINE_PX = (0.7, 1.2, 2.0, 3.2)
DEPTHS = (0.45, 0.55, 0.66, 0.82)
"""How far into the colour scale an edge of each width lies, from white in the middle."""
RING, AXIS = "#D62728", "#BBBBBB"
NAMED, LONGEST, STRONGEST = 60, 22, 3
"""Most labels that are written, letters of one, and the edges that a hover lists each way."""


def graph(
    nodes: pd.DataFrame,
    edges: pd.DataFrame,
    *,
    title: str,
    x_labels: list[str],
    y_labels: list[str],
    x_title: str,
    y_title: str,
    value_title: str,
    weight_title: str,
    legend: str = "",
    focus: str | None = None,
    note: str = "",
) -> go.Figure:
    """A picture of the graph (frames as `analyses._graphs` describes them), all of it: prune with `drawn` before.

    `legend` says what the sign of an edge means and is printed; `note` what was left out. Every kind of node has a
    symbol and a colour; labels are written where they touch nothing, those of the strongest nodes first (a column
    `named`, where there is one, says which may be). The hover of a node has its value and its strongest drawn edges.
    `customdata` of a node's point is its id.

    Raises:
        ValueError: rows or columns without a label, an edge to a node that is not there.
    """
    ends = _ends(nodes, edges, len(x_labels), len(y_labels))
    weights = edges["weight"].to_numpy(dtype=float)
    largest = float(np.abs(weights).max()) if len(weights) else 0.0
    names = [str(label) for label in nodes["label"]]
    hovers = _hovers(nodes, ends, weights, names, (x_labels, y_labels, x_title, y_title, value_title))
    meta = {"kind": "graph", "title": title, "notes": _notes(legend, weight_title, weights, largest, note),
            "x_labels": list(x_labels), "y_labels": list(y_labels), "x_title": x_title, "y_title": y_title,
            "value_title": value_title, "weight_title": weight_title, "focus": focus,
            "nodes": _listed(nodes), "named": _named(ends, weights, nodes, focus),
            "source": ends[0].tolist(), "target": ends[1].tolist(), "weight": weights.tolist()}  # fmt: skip
    middles = _edge_points(ends, weights, names, weight_title)
    figure = go.Figure([*_edge_traces(weights, largest), middles, *_node_traces(nodes, hovers), _ring(nodes, focus)])
    figure.update_layout(template=template(), legend=LEGEND | {"itemsizing": "constant"}, meta=meta, showlegend=True)
    figure.update_xaxes(title_text=escape(x_title), showline=True, linecolor=AXIS)
    figure.update_yaxes(title_text=escape(y_title), showline=True, linecolor=AXIS)
    return fit(figure)


def _ends(nodes: pd.DataFrame, edges: pd.DataFrame, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges' ends as places in `nodes`."""
    for axis, length in (("column", columns), ("row", rows)):
        if len(nodes) and not 0 <= nodes[axis].min() <= nodes[axis].max() < length:
            raise ValueError(f"graph: the nodes' {axis}s are {nodes[axis].min()} to {nodes[axis].max()} of {length}")
    ids = pd.Index(nodes["node"])
    source, target = (ids.get_indexer(edges[end]) for end in ("source", "target"))
    if len(edges) and min(source.min(), target.min()) < 0:
        raise ValueError("graph: an edge has an end that is no node")
    return source, target


def _notes(legend: str, weight_title: str, weights: np.ndarray, largest: float, note: str) -> list[str]:
    if not len(weights):
        said = "no edge is left to draw"
    else:
        signs = "blue above 0, red below" if weights.min() < 0 else "blue; none is below 0"
        said = f"edges: {weight_title}, {signs}; wider from 1/8, 1/4 and 1/2 of the largest, {largest:.3g}"
    return [one for one in (legend, said, note) if one]


def _edge_traces(weights: np.ndarray, largest: float) -> list[go.Scatter]:
    """At most eight lines, one a sign and width: the weak ones first, so that the strong ones lie above them."""
    width = np.searchsorted(STEPS, np.abs(weights) / (largest or 1.0), side="left")
    traces = []
    for step, line_px in enumerate(LINE_PX):
        for sign in (-1, 1):
            members = np.flatnonzero((width == step) & ((weights < 0) == (sign < 0)))
            colour = sample_colorscale(SIGNED, [0.5 + sign * DEPTHS[step] / 2])[0]
            if len(members):
                traces.append(go.Scatter(
                    mode="lines", line={"color": colour, "width": line_px}, hoverinfo="skip", showlegend=False,
                    name="edges", meta={"role": "edges", "members": members.tolist(), "px": line_px}))  # fmt: skip
    return traces


def _edge_points(ends: tuple[np.ndarray, np.ndarray], weights: np.ndarray, names: list[str], unit: str) -> go.Scatter:
    """An unseen point at the middle of every edge, for its hover."""
    hovers = [f"{escape(names[one])} → {escape(names[other])}<br>{escape(unit)} {short(weight, sign=True)}"
              for one, other, weight in zip(*ends, weights, strict=True)]  # fmt: skip
    return go.Scatter(mode="markers", marker={"size": 4, "opacity": 0}, hovertext=hovers, hoverinfo="text",
                      showlegend=False, name="edge middles", meta={"role": "middles"})  # fmt: skip


def _node_traces(nodes: pd.DataFrame, hovers: list[str]) -> list[go.Scatter]:
    """One trace a kind. A kind keeps its colour when others are left out: `drawn` hands over all that there were."""
    kinds = nodes["kind"].astype("category") if nodes["kind"].dtype != "category" else nodes["kind"]
    traces = []
    for index, kind in enumerate(kinds.cat.categories):
        members = np.flatnonzero(kinds.cat.codes.to_numpy() == index)
        if len(members):
            traces.append(go.Scatter(
                mode="markers", name=escape(kind), hovertext=[hovers[place] for place in members], hoverinfo="text",
                customdata=[[str(nodes["node"].iloc[place])] for place in members], showlegend=True,
                marker={"color": COLOURS[index % len(COLOURS)], "symbol": SYMBOLS[index % len(SYMBOLS)], "opacity": 1,
                        "line": {"width": 0.4, "color": "#FFFFFF"}},
                meta={"role": "nodes", "members": members.tolist()}))  # fmt: skip
    return traces


def _ring(nodes: pd.DataFrame, focus: str | None) -> go.Scatter:
    """A ring around the focus."""
    members = np.flatnonzero((nodes["node"] == focus).to_numpy()) if focus is not None else np.array([], dtype=int)
    return go.Scatter(mode="markers", hoverinfo="skip", showlegend=False, name="focus",
                      marker={"symbol": "circle-open", "color": RING, "line": {"width": 2}},
                      meta={"role": "ring", "members": members.tolist()})  # fmt: skip


def _hovers(
    nodes: pd.DataFrame, ends: tuple[np.ndarray, np.ndarray], weights: np.ndarray, names: list[str],
    axes: tuple[list[str], list[str], str, str, str],
) -> list[str]:  # fmt: skip
    x_labels, y_labels, x_title, y_title, value_title = axes
    lines: list[list[str]] = []
    told = nodes["hover"] if "hover" in nodes else pd.Series("", index=nodes.index)
    columns = [nodes[name].tolist() for name in ("kind", "row", "column", "value")]
    for name, kind, row, column, value, more in zip(names, *columns, told, strict=True):
        at = f"{y_title} {y_labels[row]}, {x_title} {x_labels[column]}"
        lines.append([f"<b>{escape(name)}</b>", f"{escape(kind)}; {escape(at)}"])
        if np.isfinite(value):
            lines[-1].append(f"{escape(value_title)} {short(value, sign=True)}")
        lines[-1] += [escape(line) for line in str(more).split("\n") if line]
    order = np.argsort(-np.abs(weights), kind="stable")
    for word, here, there in (("from", ends[1], ends[0]), ("to", ends[0], ends[1])):
        listed: dict[int, list[str]] = {}
        for edge in order:
            known = listed.setdefault(int(here[edge]), [])
            if len(known) < STRONGEST:
                known.append(f"{escape(names[there[edge]])} {short(float(weights[edge]), sign=True)}")
        for place, known in listed.items():
            lines[place].append(f"{word} {', '.join(known)}")
    return ["<br>".join(one) for one in lines]


def _named(ends: tuple[np.ndarray, np.ndarray], weights: np.ndarray, nodes: pd.DataFrame, focus: str | None) -> Any:
    """[place, name] of the nodes to label, the focus first, then by what runs through them.

    Those of slot 0 end in "left", for what they are joined to lies at their right.
    """
    through = np.zeros(len(nodes))
    for end in ends:
        np.add.at(through, end, np.abs(weights))
    if "named" in nodes:
        through[~nodes["named"].to_numpy(dtype=bool)] = -1.0
    through[(nodes["node"] == focus).to_numpy()] = np.inf
    order = [place for place in np.argsort(-through, kind="stable")[:NAMED] if through[place] >= 0]
    sides = [["left"] if slot == 0 else [] for slot in nodes.get("slot", pd.Series(1, index=nodes.index))]
    return [[int(place), elide(str(nodes["label"].iloc[place]), LONGEST), *sides[place]] for place in order]


def _listed(nodes: pd.DataFrame) -> dict[str, list[Any]]:
    """The nodes' columns as plain lists, None for what is no number."""
    named = {name: nodes[name].tolist() for name in ("node", "kind", "row", "column", "label", "value")}
    named |= {"slot": nodes["slot"].tolist()} if "slot" in nodes else {}
    return named | {"value": [None if one != one else one for one in named["value"]]}
