"""Edge attribution by gradients: exact where the model is linear, complete along a path, equal to its definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from hooks.edges import METHODS, by_row, edge_graph, edge_scores, exact_by_definition, goodness, read_outputs, written
from hooks.edges import scores as module
from hooks.edges.slopes import Slopes, add_runs, places_after, written_slopes
from hooks.errors import InputError
from hooks.gradients import run_with_gradients
from hooks.head_inputs import head_input_gradients
from hooks.interventions import Patch
from hooks.metrics import Metric, logit_diff
from hooks.model import Model
from hooks.sites import Site
from tests.hooks.test_attribution import set_part

DIFF = logit_diff(3, 5)


@pytest.fixture
def clean(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 2, 5, seed=3)


@pytest.fixture
def corrupted(any_tiny: Model, draw) -> Tensor:
    return draw(any_tiny, 2, 5, seed=4)


def linear(model: Model) -> Model:
    """The same model, linear in its embeddings to rounding: queries and keys zero, MLPs without their curve, and norms
    whose scale is a constant because their ε is huge (their weights make up for it)."""
    toy = Model(copy.deepcopy(model.module), model.tokenizer, model.identity)
    paths = toy.anatomy
    norms = [toy.module.get_submodule(paths.final_norm)]
    for layer in range(toy.geometry.n_layers):
        block = f"{paths.blocks}.{layer}"
        norms += [toy.module.get_submodule(f"{block}.{path}") for path in (paths.ln1, paths.ln2)]
        if toy.W_gate(layer) is None:
            set_part(toy.module, f"{block}.{paths.mlp}.act", torch.nn.Identity())
        else:
            toy.W_out(layer).zero_()
        for weight in (toy.W_Q, toy.W_K, toy.b_Q, toy.b_K):
            found = weight(layer)
            if found is not None:
                found.zero_()
    for norm in norms:
        setattr(norm, "variance_epsilon" if hasattr(norm, "variance_epsilon") else "eps", 1e8)
        norm.weight.mul_(1e4)
    return toy


@pytest.mark.parametrize("method", METHODS)
def test_on_a_linear_model_it_is_exact_edge_patching(
    any_tiny: Model, clean: Tensor, corrupted: Tensor, method: str
) -> None:
    toy = linear(any_tiny)
    graph = edge_graph(toy.geometry)
    found = edge_scores(toy, graph, clean, corrupted, DIFF, method, steps=2).scores
    for row in (0, 1):
        wanted = exact_by_definition(toy, graph, clean[row : row + 1], corrupted[row : row + 1], DIFF)
        torch.testing.assert_close(found[row], wanted, atol=2e-3, rtol=2e-3)
        assert (wanted.abs() > 0.05).sum() > 8


def test_gradients_of_inputs_are_those_of_hooks(any_tiny: Model, clean: Tensor) -> None:
    graph = edge_graph(any_tiny.geometry)
    slopes = Slopes(graph)
    stream = read_outputs(any_tiny, graph, clean).embed
    add_runs(any_tiny, slopes, clean, DIFF, Site(0, "resid_pre"), [stream], places_after(graph, 0))
    found = written_slopes(any_tiny, slopes)
    sites = [Site(layer, kind) for layer in graph.layers for kind in ("q", "k", "v", "resid_pre")]
    known = run_with_gradients(any_tiny, clean, sites, DIFF)
    for layer in graph.layers:
        for kind, places in graph.places(layer).items():
            if kind != "mlp":
                wanted = head_input_gradients(any_tiny, known, layer, kind)
                torch.testing.assert_close(found[:, :, places], wanted, atol=1e-5, rtol=1e-4)
    # What all inputs that read the embedding have together is its own gradient.
    torch.testing.assert_close(found.sum(dim=2), known.gradient(Site(0, "resid_pre")), atol=1e-5, rtol=1e-4)


def test_eap_is_its_definition(any_tiny: Model, clean: Tensor, corrupted: Tensor) -> None:
    """The derivative of a run in which one edge carries a little of the other prompt's output."""
    graph = edge_graph(any_tiny.geometry)
    scores = edge_scores(any_tiny, graph, clean, corrupted, DIFF, "eap").scores
    mixed, small = clean[:1], 1e-2
    near, far = (read_outputs(any_tiny, graph, ids[:1]) for ids in (clean, corrupted))
    from hooks.edges import run_edges

    replaced = written(any_tiny, graph, near) + small * written(any_tiny, graph, far - near)
    away = written(any_tiny, graph, near) - small * written(any_tiny, graph, far - near)
    order = scores[0].abs().argsort(descending=True)
    for edge in [*order[:6].tolist(), *order[40:44].tolist()]:
        kept = torch.ones(graph.n_edges, dtype=torch.bool)
        kept[edge] = False
        ahead, behind = (float(DIFF(run_edges(any_tiny, graph, mixed, kept, one))[0]) for one in (replaced, away))
        assert float(scores[0, edge]) == pytest.approx((ahead - behind) / (2 * small), abs=0.01, rel=0.03)


@pytest.mark.parametrize(("method", "ways"), [("eap_ig_inputs", [1 / 3, 2 / 3, 1.0]), ("clean_corrupted", [0.0, 1.0])])
def test_outputs_read_in_a_run_with_gradients_are_the_corrupted_runs(
    any_tiny: Model, clean: Tensor, corrupted: Tensor, method: str, ways: list[float]
) -> None:
    graph, slopes = edge_graph(any_tiny.geometry), Slopes(edge_graph(any_tiny.geometry))
    near, far = (read_outputs(any_tiny, graph, ids) for ids in (clean, corrupted))
    change = far - near
    streams = [near.embed + way * change.embed for way in ways]
    add_runs(any_tiny, slopes, clean, DIFF, Site(0, "resid_pre"), streams, places_after(graph, 0))
    told = torch.einsum("bpsd,bpid->bsi", written(any_tiny, graph, change), written_slopes(any_tiny, slopes))
    found = edge_scores(any_tiny, graph, clean, corrupted, DIFF, method, steps=len(ways))
    torch.testing.assert_close(found.scores, graph.of_matrix(told) / len(ways), atol=1e-4, rtol=1e-4)
    for side, run in ((found.clean, near), (found.corrupted, far)):
        assert run.logits is not None
        torch.testing.assert_close(side, DIFF(run.logits), atol=1e-4, rtol=1e-5)


def test_integrated_gradients_are_complete_as_points_grow(any_tiny: Model, clean: Tensor, corrupted: Tensor) -> None:
    graph = edge_graph(any_tiny.geometry)
    first = graph.edges[:, 0] == 0
    for points, steps, bound in (("midpoint", (2, 12, 40), 5e-3), ("far_end", (4, 64), 0.15)):
        errors = []
        for count in steps:
            found = edge_scores(any_tiny, graph, clean, corrupted, DIFF, steps=count, points=points)
            errors.append(float((found.scores[:, first].sum(dim=1) - (found.corrupted - found.clean)).abs().max()))
        assert errors[-1] < bound
        assert errors[-1] < errors[0]


def test_the_edges_of_interpolated_outputs_sum_to_patching_them(
    any_tiny: Model, clean: Tensor, corrupted: Tensor
) -> None:
    graph = edge_graph(any_tiny.geometry)
    found = edge_scores(any_tiny, graph, clean, corrupted, DIFF, "eap_ig_activations", steps=24, points="midpoint")
    far = read_outputs(any_tiny, graph, corrupted)
    for layer in graph.layers[:2]:
        for kind, values in (("z", far.heads[layer]), ("mlp_out", far.mlps[layer])):
            wanted = DIFF(any_tiny.logits(clean, [Patch(Site(layer, kind), values)], last_only=True)[:, -1])
            own = [
                number
                for number, source in enumerate(graph.sources)
                if source.layer == layer and (source.kind == "head") == (kind == "z")
            ]
            mine = torch.isin(graph.edges[:, 0], torch.tensor(own))
            total = found.scores[:, mine].sum(dim=1)
            torch.testing.assert_close(total, wanted - found.clean, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_neither_batching_nor_little_memory_changes_scores(
    any_tiny: Model, clean: Tensor, corrupted: Tensor, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = edge_graph(any_tiny.geometry)
    whole = edge_scores(any_tiny, graph, clean, corrupted, DIFF, method, steps=3)
    apart = edge_scores(any_tiny, graph, clean, corrupted, DIFF, method, steps=3, by_position=True)
    torch.testing.assert_close(apart.scores.sum(dim=1), whole.scores, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(module, "MEMORY", 1)
    monkeypatch.setattr(module, "ROWS", 1)
    small = edge_scores(any_tiny, graph, clean, corrupted, DIFF, method, steps=3)
    torch.testing.assert_close(small.scores, whole.scores, atol=1e-4, rtol=1e-4)
    for row in (0, 1):
        alone = edge_scores(
            any_tiny, graph, clean[row : row + 1], corrupted[row : row + 1], by_row([DIFF]), method, steps=3
        )
        torch.testing.assert_close(alone.scores[0], whole.scores[row], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(whole.clean, DIFF(any_tiny.logits(clean, last_only=True)[:, -1]), atol=1e-5)


class Constant(Metric):
    def __call__(self, logits: Tensor) -> Tensor:
        return torch.ones(len(logits))


def test_a_metric_without_a_slope_is_refused(tiny: Model, draw) -> None:
    graph, pair = edge_graph(tiny.geometry), draw(tiny, 2, 5)
    clean, corrupted = pair[:1], pair[1:]
    with pytest.raises(InputError, match="does not depend on what the run computes"):
        edge_scores(tiny, graph, clean, corrupted, Constant("one", ""), "eap")
    reference = tiny.logits(clean, last_only=True)[0, -1]
    near = goodness("divergence", 3, 5, reference)
    with pytest.raises(InputError, match="every edge scores exactly 0"):
        edge_scores(tiny, graph, clean, clean, DIFF, "eap_ig_inputs")
    assert edge_scores(tiny, graph, clean, corrupted, near, "eap_ig_inputs").scores.abs().max() > 1e-3
    for given, words in (("eap_ig", "eap_ig_inputs"), ("EAP", "eap")):
        with pytest.raises(InputError, match=words):
            edge_scores(tiny, graph, clean, corrupted, DIFF, given)
    with pytest.raises(InputError, match="one shape"):
        edge_scores(tiny, graph, clean, corrupted[:, :3], DIFF)
