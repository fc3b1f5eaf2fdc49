"""Influence equals the dense inverse; pruning and scores by hand on a graph of six nodes; paths and cycles."""

from __future__ import annotations

import pytest
import torch

from hooks.errors import InputError
from hooks.model import Model
from hooks.replacement import Transcoders, cumulative, influence, ordered, prune, scores, shares, strongest
from hooks.replacement.influence import kept_to
from tests.hooks.conftest import Draw
from tests.hooks.replacement_toys import graph_of, transcoder

# nodes: features 0 and 1, error 2, tokens 3 and 4, logit 5; rows of 0, 1 and 5
ROWS = torch.tensor([
    [0.0, 0.0, 0.0, 2.0, -2.0, 0.0],
    [-3.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    [1.0, 5.0, -2.0, 2.0, 0.0, 0.0],
])  # fmt: skip
TARGETS, WEIGHT = torch.tensor([0, 1, 5]), torch.tensor([0.0, 0, 0, 0, 0, 0.8])
ERRORS = torch.tensor([False, False, True, False, False, False])
TOKENS = torch.tensor([False, False, False, True, True, False])


def dense(rows: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    whole = torch.zeros(len(weight), len(weight), dtype=torch.float64)
    whole[targets] = rows.abs().double() / rows.abs().double().sum(dim=1, keepdim=True)
    one = torch.eye(len(weight), dtype=torch.float64)
    return weight.double() @ (torch.linalg.inv(one - whole) - one)


def test_equals_the_dense_inverse(tiny: Model, draw: Draw) -> None:
    found = influence(shares(ROWS), TARGETS, WEIGHT)
    assert torch.allclose(found.double(), dense(ROWS, TARGETS, WEIGHT))
    # by hand: the logit passes 0.1, 0.5, 0.2, 0.2; feature 1 passes 3/4 and 1/4; feature 0 halves
    to_0 = 0.8 * (0.1 + 0.5 * 0.75)
    assert found.tolist() == pytest.approx(
        [to_0, 0.4, 0.8 * (0.2 + 0.125), 0.8 * 0.2 + to_0 / 2, to_0 / 2, 0.0], abs=1e-6
    )
    _, graph = graph_of(tiny, draw(tiny), Transcoders.of_placed([transcoder(tiny, layer) for layer in (0, 1, 2)], tiny))
    whole = influence(shares(graph.rows), graph.targets, graph.weight)
    assert torch.allclose(whole.double(), dense(graph.rows, graph.targets, graph.weight), rtol=1e-4, atol=1e-7)


def test_scores_by_hand() -> None:
    to_0 = 0.8 * 0.475
    tokens, errors = 0.16 + to_0, 0.8 * 0.325
    replacement, completeness = scores(shares(ROWS), TARGETS, WEIGHT, ERRORS, TOKENS)
    assert replacement == pytest.approx(tokens / (tokens + errors))
    flow = 0.8 + to_0 + 0.4 + errors + tokens
    assert completeness == pytest.approx((flow - 0.25 * 0.4 - 0.2 * 0.8) / flow)


def test_pruning_keeps_what_holds_the_influence() -> None:
    always = TOKENS | torch.tensor([False] * 5 + [True])
    every = prune(ROWS, TARGETS, WEIGHT, always, 1.0, 1.0)
    assert every.nodes.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(every.weight) == int((ROWS != 0).sum())
    assert torch.equal(every.weight, ROWS[[0, 0, 1, 1, 2, 2, 2, 2], [3, 4, 0, 2, 0, 1, 2, 3]])
    # influences: token 3 .35, feature 1 .4, feature 0 .38, error .26, token 4 .19 of 1.58: 0.7 needs the first three
    few = prune(ROWS, TARGETS, WEIGHT, always, 0.7, 1.0)
    assert few.nodes.tolist() == [0, 1, 3, 4, 5]
    # without the error: an edge share under that of the strongest alone leaves features whose edges are gone out
    one = prune(ROWS, TARGETS, WEIGHT, always, 0.7, 0.01)
    assert one.nodes.tolist() == [3, 4, 5]
    assert not len(one.weight)


def test_a_feature_without_a_way_in_or_out_goes() -> None:
    rows = torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 3, 0]])  # features 0 (no inputs) and 1, token 2, logit 3
    kept = prune(
        rows, torch.tensor([0, 3]), torch.tensor([0.0, 0, 0, 1]), torch.tensor([False, False, True, True]), 1, 1
    )
    assert kept.nodes.tolist() == [2, 3]
    assert list(zip(kept.source.tolist(), kept.target.tolist(), strict=True)) == [(2, 3)]


def test_shares_that_are_reached() -> None:
    values = torch.tensor([4.0, 1.0, 3.0, 2.0, 0.0])
    assert kept_to(values, 0.4).tolist() == [True, False, False, False, False]
    assert kept_to(values, 0.7).tolist() == [True, False, True, False, False]
    assert kept_to(values, 1.0).tolist() == [True, True, True, True, False]
    assert not kept_to(torch.zeros(3), 0.8).any()
    assert torch.allclose(cumulative(values), torch.tensor([0.4, 1.0, 0.7, 0.9, 1.0]))


def test_the_strongest_paths() -> None:
    share = shares(ROWS)
    edges = [(int(s), int(TARGETS[t]), float(share[t, s])) for t, s in (ROWS != 0).nonzero().tolist()]
    found = strongest(6, edges, {5: 0.8}, {3, 4}, 10)
    assert [path.share for path in found] == pytest.approx([0.16, 0.15, 0.15, 0.04, 0.04])
    assert found[0].nodes == (3, 5)
    assert {path.nodes for path in found[1:3]} == {(3, 0, 1, 5), (4, 0, 1, 5)}
    whole = influence(share, TARGETS, WEIGHT)[TOKENS].sum()
    assert sum(path.share for path in found) == pytest.approx(float(whole))
    assert strongest(6, edges, {5: 0.8}, {3, 4}, 2) == found[:2]


def test_a_cycle_is_named() -> None:
    assert ordered(3, [(2, 0), (0, 1)]) == [2, 0, 1]
    with pytest.raises(InputError, match="b → c → b"):
        ordered(4, [(0, 1), (1, 2), (2, 1), (2, 3)], ["a", "b", "c", "d"])
    rows = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(InputError, match="cycle"):
        influence(rows, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))
