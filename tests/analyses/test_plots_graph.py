"""The drawn graph: nodes apart, few traces, colours and widths of edges, hovers, labels that touch nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analyses._plots import fit, graph
from analyses._plots.graph import LINE_PX
from analyses._plots.theme import text_width

ONE, TWO = 312.0, 648.0


def frames(nodes: int = 60, edges: int = 200, rows: int = 12, columns: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    noise = np.random.default_rng(1)
    row, column = noise.integers(0, rows, nodes), noise.integers(0, columns, nodes)
    names = [f"n{place}" for place in range(nodes)]
    one, other = noise.integers(0, nodes, (2, 20 * edges))
    upwards = row[one] < row[other]
    ends = [np.array(names)[end[upwards][:edges]] for end in (one, other)]
    kind = np.where(row == 0, "token", "feature")
    listed = {"node": names, "kind": kind, "row": row, "column": column, "label": names}
    drawn = pd.DataFrame(listed | {"value": noise.normal(size=nodes)})
    return drawn, pd.DataFrame({"source": ends[0], "target": ends[1], "weight": noise.normal(size=len(ends[0]))})


def draw(nodes: pd.DataFrame, edges: pd.DataFrame, **more: object) -> go.Figure:
    return graph(nodes, edges, title="A graph", x_labels=[f"{n} ␣word" for n in range(8)],
                 y_labels=[str(n) for n in range(12)], x_title="token", y_title="layer", value_title="activation",
                 weight_title="effect (logits)", legend="blue: helps", **more)  # type: ignore[arg-type]  # fmt: skip


def role(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.meta["role"] == name]


def by_node(figure: go.Figure) -> dict[str, tuple[float, float]]:
    return {point[0]: (x, y) for trace in role(figure, "nodes")
            for point, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)}  # fmt: skip


@pytest.mark.parametrize("width", [ONE, TWO])
def test_every_node_has_a_place_of_its_own_in_its_row_and_column(width: float) -> None:
    nodes, edges = frames()
    figure = fit(draw(nodes, edges), width)
    at = by_node(figure)
    assert len(at) == len(nodes)
    size = role(figure, "nodes")[0].marker.size
    places = np.array(list(at.values()))
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    assert apart.min() >= size
    for axis, column in ((0, "column"), (1, "row")):
        middle = {place: np.mean([at[node][axis] for node in rows["node"]]) for place, rows in nodes.groupby(column)}
        assert list(middle.values()) == sorted(middle.values())
    across, up = figure.layout.xaxis.range[1], figure.layout.yaxis.range[1]
    assert places.min() >= 0
    assert (places <= [across, up]).all()


def test_nodes_of_one_slot_lie_above_one_another() -> None:
    nodes = pd.DataFrame({"node": list("abcd"), "kind": "k", "row": [0, 1, 1, 2], "column": 3, "label": list("abcd"),
                          "value": 0.0, "slot": [1, 0, 1, 1]})  # fmt: skip
    at = by_node(draw(nodes, pd.DataFrame({"source": ["a"], "target": ["b"], "weight": [1.0]})))
    assert at["a"][0] == at["c"][0] == at["d"][0] > at["b"][0]


def test_edges_are_few_traces_coloured_by_sign_and_as_wide_as_they_weigh() -> None:
    nodes = pd.DataFrame({"node": list("abcdef"), "kind": "k", "row": range(6), "column": 0, "label": list("abcdef"),
                          "value": np.nan})  # fmt: skip
    weights = [8.0, -3.0, 1.5, -0.5, 5.0]
    edges = pd.DataFrame({"source": list("abcde"), "target": list("bcdef"), "weight": weights})
    lines = {tuple(trace.meta["members"]): trace for trace in role(draw(nodes, edges), "edges")}
    assert set(lines) == {(0, 4), (1,), (2,), (3,)}
    width = {members: trace.line.width for members, trace in lines.items()}
    assert [width[one] for one in ((3,), (2,), (1,), (0, 4))] == list(LINE_PX)
    blue, red = (np.array(lines[one].line.color[4:-1].split(","), dtype=float) for one in ((0, 4), (1,)))
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    large = draw(*frames(2000, 5000))
    assert len(large.data) <= 8 + 2 + 2
    assert sum(len(trace.meta["members"]) for trace in role(large, "edges")) == 5000


def test_edges_end_at_their_nodes() -> None:
    nodes, edges = frames()
    figure = draw(nodes, edges)
    at = by_node(figure)
    for trace in role(figure, "edges"):
        ends = (
            np.array([np.nan if x is None else x for x in trace.x]),
            np.array([np.nan if y is None else y for y in trace.y]),
        )
        breaks = np.flatnonzero(np.isnan(ends[0]))
        starts = np.concatenate([[0], breaks[:-1] + 1])
        for edge, start, stop in zip(trace.meta["members"], starts, breaks, strict=True):
            source, target = edges.loc[edge, ["source", "target"]]
            np.testing.assert_allclose((ends[0][start], ends[1][start]), at[source], atol=0.11)
            np.testing.assert_allclose((ends[0][stop - 1], ends[1][stop - 1]), at[target], atol=0.11)


def test_what_a_sign_and_a_width_mean_is_printed() -> None:
    nodes, edges = frames()
    notes = draw(nodes, edges, note="drawn: 5 of 9 edges").layout.meta["notes"]
    assert notes[0] == "blue: helps"
    assert notes[1].startswith("edges: effect (logits), blue above 0, red below; wider from 1/8, 1/4 and 1/2 of")
    assert notes[2] == "drawn: 5 of 9 edges"
    positive = draw(nodes, edges.assign(weight=edges["weight"].abs())).layout.meta["notes"]
    assert "none is below 0" in positive[1]
    assert draw(nodes, edges.head(0)).layout.meta["notes"][1] == "no edge is left to draw"


def test_a_hover_has_the_value_and_the_strongest_edges_each_way() -> None:
    nodes = pd.DataFrame({"node": list("abcdef"), "kind": "k", "row": [0, 0, 0, 0, 1, 2], "column": [0, 1, 2, 3, 4, 4],
                          "label": ["<a>", *"bcdef"], "value": [0.0, 1, 2, 3, 0.25, np.nan],
                          "hover": ["", "", "", "", "more\nyet more", ""]})  # fmt: skip
    edges = pd.DataFrame({"source": list("abcde"), "target": list("eeeef"), "weight": [4.0, -3.0, 2.0, 1.0, 0.5]})
    hovers = {point[0]: text for trace in role(draw(nodes, edges), "nodes")
              for point, text in zip(trace.customdata, trace.hovertext, strict=True)}  # fmt: skip
    assert hovers["e"] == ("<b>e</b><br>k; layer 1, token 4 ␣word<br>activation +0.250<br>more<br>yet more<br>"
                           "from &lt;a&gt; +4.000, b −3.000, c +2.000<br>to f +0.500")  # fmt: skip
    assert "activation" not in hovers["f"]


@pytest.mark.parametrize("width", [ONE, TWO])
def test_labels_touch_neither_each_other_nor_the_edge_and_the_focus_has_one(width: float) -> None:
    nodes, edges = frames()
    figure = fit(draw(nodes, edges, focus="n7"), width)
    layout = figure.layout
    across, up = layout.xaxis.range[1], layout.yaxis.range[1]
    boxes = []
    for note in layout.annotations:
        wide, high = text_width(note.text, 9) * 1.1, 9 * 1.3
        x = note.x * across - {"left": 0, "center": wide / 2, "right": wide}[note.xanchor]
        boxes.append((x, note.y * up - high / 2, x + wide, note.y * up + high / 2))
    assert "n7" in [note.text for note in layout.annotations]
    assert min(box[0] for box in boxes) >= 0
    assert max(box[2] for box in boxes) <= across
    for place, one in enumerate(boxes):
        for other in boxes[:place]:
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    ring = role(figure, "ring")[0]
    assert (ring.x[0], ring.y[0]) == by_node(figure)["n7"]


def test_a_label_stands_where_no_other_node_would_be_taken_for_its_own() -> None:
    # A tower of close rows with a side node each: the labels of the tower leave it sideways, and pass no side node.
    rows = 44
    nodes = pd.DataFrame({
        "node": [f"{name}{n}" for n in range(rows) for name in "st"], "kind": "k", "row": np.repeat(range(rows), 2),
        "column": 7, "label": [f"{name}{n}" for n in range(rows) for name in ("side", "tower ")], "value": 0.0,
        "slot": [0, 1] * rows, "named": True,
    })  # fmt: skip
    nodes = nodes[(nodes["slot"] == 1) | (nodes["row"] % 2 == 0)].reset_index(drop=True)
    steps = [(f"t{n}", f"t{n + 1}", 1.0) for n in range(rows - 1)]
    edges = pd.DataFrame(steps, columns=["source", "target", "weight"])
    figure = graph(nodes, edges, title="t", x_labels=[str(n) for n in range(8)], y_labels=[str(n) for n in range(rows)],
                   x_title="x", y_title="y", value_title="v", weight_title="w")  # fmt: skip
    at, labels = by_node(figure), dict(zip(nodes["label"], nodes["node"], strict=True))
    across, tall = figure.layout.xaxis.range[1], figure.layout.yaxis.range[1]
    written = [note for note in figure.layout.annotations if note.xanchor != "center"]
    assert len(written) > 10
    for note in written:
        own = labels[note.text]
        x, y = at[own]
        assert note.y * tall == pytest.approx(y, abs=0.1)
        low, high = sorted((x, note.x * across))
        assert not [other for other, (left, up) in at.items()
                    if other != own and abs(up - y) < 1 and low < left < high]  # fmt: skip


def test_labels_that_may_not_be_written_are_left_to_the_hover() -> None:
    nodes, edges = frames()
    figure = draw(nodes.assign(named=nodes["node"] == "n3"), edges)
    assert [note.text for note in figure.layout.annotations] == ["n3"]
    assert "<b>n4</b>" in "".join(text for trace in role(figure, "nodes") for text in trace.hovertext)


def test_a_kind_keeps_its_colour_when_another_is_left_out() -> None:
    nodes, edges = frames()
    kinds = pd.Categorical(nodes["kind"], categories=["token", "feature"])
    whole = {trace.name: trace.marker.color for trace in role(draw(nodes.assign(kind=kinds), edges), "nodes")}
    part = nodes.assign(kind=kinds)[nodes["kind"] == "feature"]
    left = {trace.name: trace.marker.color for trace in role(draw(part, edges.head(0)), "nodes")}
    assert left == {"feature": whole["feature"]}


def test_fitting_again_gives_what_fitting_once_gives_and_a_screen_gets_larger_points() -> None:
    figure = draw(*frames(), focus="n7")
    assert fit(fit(figure, ONE), TWO).to_json() == fit(figure, TWO).to_json()
    screen = fit(figure, TWO * 1.5, scale=1.5)
    assert role(screen, "nodes")[0].marker.size == 1.5 * role(figure, "nodes")[0].marker.size
    assert role(screen, "edges")[0].line.width == 1.5 * role(figure, "edges")[0].line.width
    assert fit(screen, TWO).to_json() == fit(figure, TWO).to_json()


def test_nothing_at_all_can_be_drawn() -> None:
    nodes, edges = frames()
    assert draw(nodes.head(0), edges.head(0)).layout.height > 0


def test_nodes_outside_the_axes_and_edges_to_nowhere_are_refused() -> None:
    nodes, edges = frames()
    with pytest.raises(ValueError, match="rows are 0 to 12 of 12"):
        draw(nodes.assign(row=np.arange(60) % 13), edges)
    with pytest.raises(ValueError, match="an end that is no node"):
        draw(nodes, edges.assign(target="nowhere"))
