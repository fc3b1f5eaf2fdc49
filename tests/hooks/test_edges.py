"""Edges between components: the graph, runs with cut edges, and exact scores against their definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.edges import (
    acdc,
    at_every_position,
    circuit_values,
    edge_graph,
    exact_by_definition,
    exact_scores,
    goodness,
    mean_outputs,
    read_outputs,
    run_edges,
    written,
    zero_outputs,
)
from hooks.errors import InputError
from hooks.interventions import Patch, Zero
from hooks.load import load
from hooks.metrics import log_prob, logit_diff
from hooks.model import Model
from hooks.sites import Site

DIFF = logit_diff(3, 5)


@pytest.fixture
def clean(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 2, 6, seed=3)


@pytest.fixture
def corrupted(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 2, 6, seed=4)


def test_the_graph_of_grouped_queries(tiny: Model) -> None:
    graph = edge_graph(tiny.geometry)
    assert graph.nodes[:7] == ("embed", "L0H0", "L0H1", "L0H2", "L0H3", "MLP0", "L1H0")
    assert [one.name for one in graph.inputs][4:10] == ["L0G0.k", "L0G1.k", "L0G0.v", "L0G1.v", "MLP0", "L1H0.q"]
    # Three layers: 8 head inputs read 1, 6, 11 sources, MLPs 5, 10, 15, the logits 16.
    assert graph.n_edges == 8 * (1 + 6 + 11) + 5 + 10 + 15 + 16
    names = dict(zip(graph.edge_names, range(graph.n_edges), strict=True))
    assert len(names) == graph.n_edges
    assert "L1H3->MLP1" in names
    assert "L1H3->L1G0.k" not in names
    assert names["MLP1->L2G1.v"] == int(graph.numbers(["MLP1->L2G1.v"])[0])
    feeds = {one.name: [graph.nodes[node] for node in graph.feeds[place]] for place, one in enumerate(graph.inputs)}
    assert feeds["L1G1.k"] == ["L1H2", "L1H3"]
    assert feeds["L1H1.q"] == ["L1H1"]
    with pytest.raises(InputError, match=r"MLP1->L2G1\.v"):
        graph.numbers(["MLP1->L2G1.w"])


def test_parallel_mlps_do_not_hear_their_layers_heads(models_folder: Path) -> None:
    graph = edge_graph(load("toy:neox", models_folder).geometry)
    assert "L0H1->MLP1" in graph.edge_names
    assert "L1H1->MLP1" not in graph.edge_names
    assert "L1H1->logits" in graph.edge_names


def test_a_graph_of_some_layers(tiny: Model) -> None:
    graph = edge_graph(tiny.geometry, [2, 0])
    assert graph.layers == (0, 2)
    assert "L0H1->L2H3.q" in graph.edge_names
    assert not any("L1" in name or "MLP1" in name for name in graph.edge_names)
    for bad, words in (([3], "layer 3 does not exist: valid layers are 0 to 2"), ([], "at least one layer")):
        with pytest.raises(InputError, match=words):
            edge_graph(tiny.geometry, bad)


def test_no_edge_is_the_corrupted_run_and_all_edges_the_clean_one(
    any_tiny: Model, clean: Tensor, corrupted: Tensor
) -> None:
    graph = edge_graph(any_tiny.geometry)
    near, far = (read_outputs(any_tiny, graph, ids) for ids in (clean, corrupted))
    assert (near.logits - far.logits).abs().max() > 0.5
    replaced = written(any_tiny, graph, far)
    masks = torch.tensor([[True], [False]]).expand(-1, graph.n_edges)
    for row in (0, 1):
        full, empty = (run_edges(any_tiny, graph, clean, kept, replaced)[row] for kept in masks)
        torch.testing.assert_close(full, near.logits[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(empty, far.logits[row], atol=1e-5, rtol=1e-5)


def test_cutting_what_leaves_a_source_is_patching_it(any_tiny: Model, clean: Tensor, corrupted: Tensor) -> None:
    graph = edge_graph(any_tiny.geometry)
    far = read_outputs(any_tiny, graph, corrupted[:1])
    for name, site in (("L0H2", Site(0, "z", 2)), ("MLP0", Site(0, "mlp_out")), ("L1H0", Site(1, "z", 0))):
        kept = torch.tensor([not edge.startswith(f"{name}->") for edge in graph.edge_names])
        value = run_with_cache(any_tiny, corrupted[:1], [site])[site]
        wanted = any_tiny.logits(clean[:1], [Patch(site, value)], last_only=True)[:, -1]
        found = run_edges(any_tiny, graph, clean[:1], kept, written(any_tiny, graph, far))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        nothing = written(any_tiny, graph, zero_outputs(far))
        wanted = any_tiny.logits(clean[:1], [Zero(site)], last_only=True)[:, -1]
        torch.testing.assert_close(run_edges(any_tiny, graph, clean[:1], kept, nothing), wanted, atol=1e-5, rtol=1e-5)


def test_rows_have_their_own_circuits_and_mixing_them_changes_nothing(any_tiny: Model, clean: Tensor, draw) -> None:
    graph = edge_graph(any_tiny.geometry)
    replaced = written(any_tiny, graph, read_outputs(any_tiny, graph, draw(any_tiny, 2, 6, seed=9)))
    kept = torch.rand(2, graph.n_edges, generator=torch.Generator().manual_seed(0)) < 0.6
    both = run_edges(any_tiny, graph, clean, kept, replaced)
    for row in (0, 1):
        alone = run_edges(any_tiny, graph, clean[row : row + 1], kept[row], replaced[row : row + 1])
        torch.testing.assert_close(both[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_a_mean_is_over_prompts_and_positions(tiny: Model, draw) -> None:
    graph = edge_graph(tiny.geometry)
    runs = [read_outputs(tiny, graph, draw(tiny, 2, pos, seed=pos)) for pos in (4, 6)]
    mean = written(tiny, graph, at_every_position(mean_outputs(runs), runs[1]))
    assert mean.shape == (2, 6, len(graph.sources), tiny.geometry.d_model)
    flat = torch.cat([written(tiny, graph, run).flatten(0, 1) for run in runs])
    torch.testing.assert_close(mean[1, 3], flat.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_exact_scores_are_their_definition(any_tiny: Model, clean: Tensor, corrupted: Tensor) -> None:
    graph = edge_graph(any_tiny.geometry)
    # A shared beginning: before the first token that differs nothing does.
    other = torch.cat([clean[:1, :2], corrupted[:1, 2:]], dim=1)
    for metric in (DIFF, log_prob(7)):
        wanted = exact_by_definition(any_tiny, graph, clean[:1], other, metric)
        found = exact_scores(any_tiny, graph, clean[:1], other, metric)
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
        assert (wanted.abs() > 1e-3).sum() > graph.n_edges // 4


def test_some_layers_alone(tiny: Model, draw) -> None:
    graph = edge_graph(tiny.geometry, [1, 2])
    pair = draw(tiny, 2, 5, seed=1)
    wanted = exact_by_definition(tiny, graph, pair[:1], pair[1:], DIFF)
    torch.testing.assert_close(exact_scores(tiny, graph, pair[:1], pair[1:], DIFF), wanted, atol=2e-5, rtol=1e-4)


def test_acdc(any_tiny: Model, clean: Tensor, corrupted: Tensor) -> None:
    graph = edge_graph(any_tiny.geometry)
    near, far = (read_outputs(any_tiny, graph, ids[:1]) for ids in (clean, corrupted))
    replaced = written(any_tiny, graph, far)
    metric = goodness("divergence", 3, 5, near.logits[0])
    assert float(metric(near.logits)[0]) == pytest.approx(0, abs=1e-6)

    def evaluate(kept: Tensor) -> Tensor:
        return circuit_values(any_tiny, graph, clean[:1], kept, replaced, metric)

    none, every = acdc(graph, evaluate, 1e9), acdc(graph, evaluate, -1e9)
    assert not none.kept.any()
    assert none.value == pytest.approx(float(metric(far.logits)[0]), abs=1e-4)
    assert every.kept.all()
    # What is dropped with its node is never run: only the edges into the logits were.
    assert int(none.losses.isfinite().sum()) == len(graph.sources)
    some, again, plain = (acdc(graph, evaluate, 0.02, together=count) for count in (16, 16, 1))
    assert 0 < some.kept.sum() < graph.n_edges
    for one in (again, plain):
        assert torch.equal(some.kept, one.kept)
    assert some.value == pytest.approx(float(evaluate(some.kept[None])[0]), abs=1e-5)
    tried = some.losses.isfinite()
    assert (some.losses[some.kept] >= 0.02).all()
    assert (some.losses[tried & ~some.kept] < 0.02).all()
    for threshold, together in ((float("nan"), 4), (0.1, 0)):
        with pytest.raises(InputError, match="ACDC needs a threshold"):
            acdc(graph, evaluate, threshold, together=together)


def test_what_does_not_fit_is_refused(tiny: Model, draw) -> None:
    graph = edge_graph(tiny.geometry)
    pair = draw(tiny, 2, 5)
    replaced = written(tiny, graph, read_outputs(tiny, graph, pair[:1]))
    with pytest.raises(InputError, match=f"kept \\[row {graph.n_edges}\\]"):
        run_edges(tiny, graph, pair[:1], torch.ones(3, dtype=torch.bool), replaced)
    with pytest.raises(InputError, match="one pair of prompts of one length"):
        exact_scores(tiny, graph, pair[:1], pair[1:, :3], DIFF)
