"""What of a graph is drawn: the strongest edges, what hangs on a focus, pins, hidden kinds; fast on a large graph."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from analyses._graphs import GraphView, drawn
from hooks.errors import InputError

LIMIT_S = 0.5
"""For 2,000 nodes and 20,000 edges, where 0.015 s are usual: enough for a machine that does other things."""


def graph(*edges: tuple[str, str, float], extra: tuple[str, ...] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nodes named by letters, of kind "upper" or "lower" as they are written; each in a row of its own."""
    names = list(dict.fromkeys([*(end for edge in edges for end in edge[:2]), *extra]))
    nodes = pd.DataFrame({"node": names, "kind": ["upper" if one.isupper() else "lower" for one in names],
                          "row": range(len(names)), "column": 0, "label": names, "value": 0.0})  # fmt: skip
    return nodes, pd.DataFrame(edges, columns=["source", "target", "weight"])


def pairs(edges: pd.DataFrame) -> set[str]:
    return set(edges["source"] + edges["target"])


CHAIN = graph(("a", "b", 1.0), ("b", "C", -3.0), ("C", "d", 0.5), ("d", "e", 2.0), ("x", "e", 9.0), extra=("z",))


def test_the_strongest_edges_stay_whatever_their_sign_and_the_note_counts_the_others() -> None:
    nodes, edges, note = drawn(*CHAIN, GraphView(most_edges=2))
    assert pairs(edges) == {"xe", "bC"}
    assert nodes["node"].tolist() == ["b", "C", "e", "x"]
    assert note == "drawn: 2 of 5 edges, 4 of 7 nodes"


def test_nothing_is_said_where_everything_is_drawn() -> None:
    whole = graph(("a", "b", 1.0))
    nodes, edges, note = drawn(*whole, GraphView())
    assert (len(nodes), len(edges), note) == (2, 1, "")


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("upstream", {"ab", "bC"}), ("downstream", {"Cd", "de"}), ("both", {"ab", "bC", "Cd", "de"})],
)
def test_a_focus_isolates_what_leads_to_it_and_from_it(direction: str, expected: set[str]) -> None:
    nodes, edges, note = drawn(*CHAIN, GraphView(focus="C", direction=direction))  # type: ignore[arg-type]
    assert pairs(edges) == expected
    assert "x" not in set(nodes["node"])
    assert note.startswith("only what ")
    assert " C" in note


def test_a_small_number_of_edges_grows_from_the_focus_so_that_none_hangs_in_the_air() -> None:
    strong_far = graph(("a", "b", 9.0), ("b", "c", 0.1), ("c", "F", 1.0), ("d", "F", 0.9), ("e", "F", 0.8))
    _, edges, _ = drawn(*strong_far, GraphView(focus="F", most_edges=2))
    assert pairs(edges) == {"cF", "bc"}  # half are the focus' own; the strongest of all, ab, is not reached yet
    _, edges, _ = drawn(*strong_far, GraphView(focus="F", most_edges=4))
    assert pairs(edges) == {"cF", "dF", "bc", "ab"}
    _, edges, _ = drawn(*strong_far, GraphView(focus="F", most_edges=5))
    assert len(edges) == 5


def test_own_edges_fill_what_the_search_leaves() -> None:
    star = graph(*((letter, "F", 1.0 + n) for n, letter in enumerate("abcdefgh")))
    _, edges, _ = drawn(*star, GraphView(focus="F", most_edges=6))
    assert pairs(edges) == {f"{letter}F" for letter in "cdefgh"}


def test_pinned_nodes_and_the_focus_are_drawn_whatever_is_left_out() -> None:
    view = GraphView(pinned=("z",), focus="C", hidden_kinds=("upper",), least_weight=100.0)
    nodes, edges, note = drawn(*CHAIN, view)
    assert nodes["node"].tolist() == ["C", "z"]
    assert edges.empty
    assert "weights under 100 left out" in note
    assert "hidden: upper" in note


def test_edges_of_hidden_kinds_and_small_or_missing_weights_are_left_out() -> None:
    _, edges, _ = drawn(*CHAIN, GraphView(hidden_kinds=("upper",)))
    assert pairs(edges) == {"ab", "de", "xe"}
    _, edges, _ = drawn(*CHAIN, GraphView(least_weight=1.5))
    assert pairs(edges) == {"bC", "de", "xe"}
    nodes, edges = graph(("a", "b", float("nan")), ("b", "c", 1.0))
    assert pairs(drawn(nodes, edges, GraphView())[1]) == {"bc"}


def test_kinds_that_are_left_out_stay_known_so_that_no_colour_changes() -> None:
    nodes, _, _ = drawn(*CHAIN, GraphView(hidden_kinds=("lower",)))
    assert list(nodes["kind"].cat.categories) == ["lower", "upper"]


@pytest.mark.parametrize(
    ("view", "said"),
    [({"focus": "c"}, "unknown focus node 'c': did you mean 'C'"), ({"pinned": ("q",)}, "unknown pinned node 'q'"),
     ({"hidden_kinds": ("uper",)}, "unknown kind of node 'uper': did you mean 'upper'")],
)  # fmt: skip
def test_names_that_the_graph_does_not_have_are_refused(view: dict[str, object], said: str) -> None:
    nodes, edges = CHAIN
    nodes = nodes[nodes["node"] != "c"]
    with pytest.raises(InputError) as error:
        drawn(nodes, edges, GraphView(**view))  # type: ignore[arg-type]
    assert said.split(":")[0] in str(error.value)


def test_an_edge_to_nowhere_is_an_error_of_the_caller() -> None:
    nodes, edges = graph(("a", "b", 1.0))
    with pytest.raises(ValueError, match="a → b has an end that is no node"):
        drawn(nodes[nodes["node"] == "a"], edges, GraphView())


def test_an_empty_graph_is_drawn_empty() -> None:
    nodes, edges = graph(extra=("a",))
    assert [len(part) for part in drawn(nodes, edges, GraphView())[:2]] == [0, 0]


def random_graph(nodes: int, edges: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    noise = np.random.default_rng(0)
    row = np.sort(noise.integers(0, 30, nodes))
    names = np.array([f"n{place}" for place in range(nodes)])
    one, other = noise.integers(0, nodes, (2, edges * 3))
    upwards = row[one] < row[other]
    one, other = one[upwards][:edges], other[upwards][:edges]
    frame = pd.DataFrame({"node": names, "kind": "k", "row": row, "column": noise.integers(0, 30, nodes),
                          "label": names, "value": 1.0})  # fmt: skip
    return frame, pd.DataFrame({"source": names[one], "target": names[other], "weight": noise.normal(size=len(one))})


@pytest.mark.parametrize("view", [{}, {"focus": "n1000"}, {"focus": "n1000", "most_edges": 5000}])
def test_two_thousand_nodes_and_twenty_thousand_edges_are_pruned_at_once(view: dict[str, object]) -> None:
    nodes, edges = random_graph(2000, 20_000)
    assert len(edges) == 20_000
    started = time.perf_counter()
    _, kept, _ = drawn(nodes, edges, GraphView(**view))  # type: ignore[arg-type]
    assert time.perf_counter() - started < LIMIT_S
    assert 0 < len(kept) <= int(str(view.get("most_edges", 200)))


def test_everything_drawn_with_a_focus_leads_to_it_by_drawn_edges() -> None:
    nodes, edges = random_graph(300, 2000)
    _, kept, _ = drawn(nodes, edges, GraphView(focus="n200", direction="upstream", most_edges=50))
    reached = {"n200"}
    while more := set(kept.loc[kept["target"].isin(reached), "source"]) - reached:
        reached |= more
    assert len(kept) == 50
    assert set(kept["source"]) <= reached
    assert set(kept["target"]) <= reached
