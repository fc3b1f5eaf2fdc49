"""What circuit analyses share: selection and pruning on small graphs by hand, random circuits, kept circuits."""

from __future__ import annotations

import numpy as np
import pytest

from analyses._circuits.chance import between, random_circuit
from analyses._circuits.kept import KIND, Circuit, circuit_of, contents
from analyses._circuits.pairs import halves
from analyses._circuits.selection import RULES, nodes_of, prune, select
from data.artifacts import Artifact
from hooks.edges import EdgeGraph, edge_graph
from hooks.errors import InputError
from hooks.model import Model


def chosen(graph: EdgeGraph, *names: str) -> np.ndarray:
    kept = np.zeros(graph.n_edges, dtype=bool)
    kept[graph.numbers(names).numpy()] = True
    return kept


def named(graph: EdgeGraph, kept: np.ndarray) -> set[str]:
    return {name for name, inside in zip(graph.edge_names, kept, strict=True) if inside}


@pytest.fixture
def graph(tiny: Model) -> EdgeGraph:
    return edge_graph(tiny.geometry)


WAY = ("embed->L0G1.v", "L0H2->MLP0", "MLP0->L1H1.q", "L1H1->logits")


def test_what_hangs_in_the_air_is_pruned(graph: EdgeGraph) -> None:
    whole = chosen(graph, *WAY)
    np.testing.assert_array_equal(prune(graph, whole), whole)
    # From nowhere: nothing enters L2H0. To nowhere: nothing leaves L1H2, nor then MLP1, which fed it alone.
    dangling = ("L2H0->logits", "MLP0->L1G1.k", "MLP0->MLP1", "MLP1->L2H3.q")
    assert named(graph, prune(graph, chosen(graph, *WAY, *dangling))) == set(WAY)
    assert not prune(graph, chosen(graph, *WAY[:-1])).any()
    assert not prune(graph, chosen(graph, *WAY[1:])).any()


def test_a_groups_key_serves_each_of_its_heads(graph: EdgeGraph) -> None:
    way = ("embed->L1G1.k", "L1H3->logits")
    assert named(graph, prune(graph, chosen(graph, *way))) == set(way)
    assert not prune(graph, chosen(graph, "embed->L1G0.k", "L1H3->logits")).any()
    inside = {graph.nodes[node] for node in np.flatnonzero(nodes_of(graph, chosen(graph, *way)))}
    assert inside == {"embed", "L1H3", "logits"}


def test_rules(graph: EdgeGraph) -> None:
    scores = np.zeros(graph.n_edges)
    scores[graph.numbers(WAY).numpy()] = (0.9, -0.8, 0.7, -0.1)
    scores[graph.numbers(["embed->MLP2"]).numpy()] = -0.5
    # The strongest four miss the last step to the logits; greedily it comes first.
    assert not select(graph, scores, "top_n", size=4).any()
    assert named(graph, select(graph, scores, "top_n", size=5)) == set(WAY)
    assert named(graph, select(graph, scores, "greedy", size=4)) == set(WAY)
    assert named(graph, select(graph, scores, "threshold", threshold=0.1)) == set(WAY)
    assert not select(graph, scores, "threshold", threshold=0.11).any()
    with pytest.raises(InputError, match="at least 1 edge"):
        select(graph, scores, "greedy", size=0)
    with pytest.raises(InputError, match="top_n"):
        select(graph, scores, "topn", size=3)
    with pytest.raises(InputError, match=f"each of {graph.n_edges} edges"):
        select(graph, scores[1:], "top_n", size=3)


def test_every_selection_is_without_loose_ends_and_all_edges_are_all(any_tiny: Model) -> None:
    graph = edge_graph(any_tiny.geometry)
    scores = np.random.default_rng(0).normal(size=graph.n_edges)
    for rule in RULES:
        kept = select(graph, scores, rule, size=40, threshold=1.0)
        np.testing.assert_array_equal(prune(graph, kept), kept)
        assert kept.any()
    for rule in ("top_n", "greedy"):
        assert select(graph, scores, rule, size=graph.n_edges).all()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 30, 80])
def test_random_circuits_have_the_size_and_hang_together(any_tiny: Model, size: int) -> None:
    graph = edge_graph(any_tiny.geometry)
    drawn = [random_circuit(graph, size, seed) for seed in range(4)]
    for one in drawn:
        assert one.sum() == size
        np.testing.assert_array_equal(prune(graph, one), one)
    np.testing.assert_array_equal(drawn[0], random_circuit(graph, size, 0))
    if size > 2:
        assert any((drawn[0] != one).any() for one in drawn[1:])


def test_random_circuits_of_the_same_nodes(graph: EdgeGraph) -> None:
    found = select(graph, np.random.default_rng(1).normal(size=graph.n_edges), "greedy", size=20)
    inside = nodes_of(graph, found)
    among = between(graph, inside)
    assert (found <= among).all()
    assert among.sum() > found.sum()
    for seed in range(3):
        one = random_circuit(graph, int(found.sum()), seed, among)
        assert one.sum() == found.sum()
        assert (one <= among).all()
        assert (nodes_of(graph, one) <= inside).all()
        np.testing.assert_array_equal(prune(graph, one), one)
    with pytest.raises(InputError, match="a random circuit has 1 to"):
        random_circuit(graph, int(among.sum()) + 1, 0, among)


@pytest.mark.parametrize("size", [5, 7, 9])
def test_every_size_of_a_found_circuit_has_random_ones_of_its_nodes(any_tiny: Model, size: int) -> None:
    # Small circuits lack some key or query of nearly every head, so thinning has to take whole inputs out.
    graph = edge_graph(any_tiny.geometry)
    starved = 0
    for seed in range(12):
        found = select(graph, np.random.default_rng(seed).normal(size=graph.n_edges), "greedy", size=size)
        if not found.any():
            continue
        among = between(graph, nodes_of(graph, found))
        one = random_circuit(graph, int(found.sum()), seed, among)
        assert one.sum() == found.sum()
        assert (one <= among).all()
        np.testing.assert_array_equal(prune(graph, one), one)
        reads = {name.split("->")[1] for name in named(graph, among)}
        starved += len({name.split("->")[1] for name in named(graph, one)}) < len(reads)
    assert starved


def test_a_kept_circuit_comes_back_for_its_own_model_alone(graph: EdgeGraph, tiny: Model, any_tiny: Model) -> None:
    scores = np.random.default_rng(0).normal(size=graph.n_edges).astype(np.float32).astype(np.float64)
    kept = select(graph, scores, "top_n", size=60)
    tensors, meta = contents(tiny, Circuit(graph, scores, kept, {"method": "eap"}))
    back = circuit_of(Artifact("mine", KIND, meta, tensors, "r"), tiny)
    np.testing.assert_array_equal(back.scores, scores)
    np.testing.assert_array_equal(back.kept, kept)
    assert back.about == {"method": "eap"}
    if any_tiny.identity != tiny.identity:
        with pytest.raises(InputError, match="circuit 'mine' is of a model of"):
            circuit_of(Artifact("mine", KIND, meta, tensors, "r"), any_tiny)
    with pytest.raises(InputError, match="a model of another shape"):
        circuit_of(Artifact("mine", KIND, meta | {"layers": [0, 1]}, tensors, "r"), tiny)
    with pytest.raises(InputError, match="does not hold a circuit"):
        circuit_of(Artifact("mine", "probe", meta, {"scores": tensors["scores"]}, "r"), tiny)


def test_halves_share_no_pair() -> None:
    first, second = halves(9, seed=3)
    assert sorted(first + second) == list(range(9))
    assert len(first) == 5
    assert halves(1, seed=0) == ([0], [0])
