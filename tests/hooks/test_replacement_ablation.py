"""Taking a node away in the model itself: held, a target changes by −A; latents that respond; the real model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hooks.interventions import Patch
from hooks.model import Model
from hooks.replacement import Transcoders, measured, predicted
from hooks.replacement.ablation import _Run, written
from hooks.sites import Site
from tests.hooks.conftest import Draw
from tests.hooks.replacement_toys import crossing, exact, graph_of, transcoder


def over(model: Model, form: str = "standard") -> Transcoders:
    return Transcoders.of_placed([transcoder(model, layer, form) for layer in range(model.geometry.n_layers)], model)


@pytest.mark.parametrize("form", ["standard", "skip"])
def test_with_everything_held_a_target_changes_by_minus_its_edge(any_tiny: Model, draw: Draw, form: str) -> None:
    local, graph = graph_of(any_tiny, draw(any_tiny), over(any_tiny, form))
    errors = graph.mask("error").nonzero().flatten()
    tokens = graph.mask("token").nonzero().flatten()
    nodes = torch.cat([torch.arange(0, len(graph.features), 5), errors[[1, 4, -1]], tokens])
    targets = torch.arange(len(graph.rows))
    found = measured(local, graph, nodes.tolist(), targets, "held")
    assert (graph.rows[:, nodes].abs() > 0.01).any(dim=0).sum() > 5
    assert torch.allclose(found, -graph.rows[:, nodes].T, atol=1e-5)


@pytest.mark.parametrize("most", [10_000, 12])
def test_so_it_does_in_a_cross_layer_set_and_under_a_cap(tiny: Model, draw: Draw, most: int) -> None:
    local, graph = graph_of(tiny, draw(tiny), crossing(tiny), most)
    errors = graph.mask("error").nonzero().flatten()
    nodes = torch.cat([torch.arange(len(graph.features))[:6], errors[[1, 2, 9, -1]]])
    found = measured(local, graph, nodes.tolist(), torch.arange(len(graph.rows)), "held")
    assert torch.allclose(found, -graph.rows[:, nodes].T, atol=1e-5)


def test_latents_that_stay_active_respond_as_predicted(tiny: Model, draw: Draw) -> None:
    local, graph = graph_of(tiny, draw(tiny), over(tiny, "skip"))
    nodes, targets = torch.arange(len(graph.features)), torch.arange(len(graph.rows))
    direct, total = predicted(graph, nodes)
    # a hundredth of the change, so that no latent crosses its threshold
    edits = measured(local, graph, nodes.tolist(), targets, "responding")
    small = _scaled(local, graph, nodes, targets, 0.01)
    assert torch.allclose(small / 0.01, total, atol=2e-3)
    assert not torch.allclose(total, direct, atol=1e-3)
    assert (edits - total).abs().mean() < 0.5 * total.abs().mean()


def _scaled(local, graph, nodes, targets, factor: float):  # type: ignore[no-untyped-def]
    wrote = [written(local, graph, int(node)) for node in nodes]
    edits = {layer: torch.zeros(len(wrote) + 1, *local.mlp_out.shape[1:]) for layer in range(len(local.mlp_out))}
    for place, one in enumerate(wrote, 1):
        for (layer, position), vector in one.items():
            edits[layer][place, position] -= factor * vector
    found = _Run(local, edits, len(wrote) + 1, "responding").values(graph, targets)
    return found[1:] - found[0]


def test_free_is_the_real_model(tiny: Model, draw: Draw) -> None:
    ids = draw(tiny)
    local, graph = graph_of(tiny, ids, over(tiny))
    (error,) = graph.mask("error").nonzero().flatten()[[8]].tolist()
    kind, layer, position = graph.place(error)
    assert (kind, layer, position) == ("error", 1, 1)
    last = torch.tensor([len(graph.rows) - 1])
    found = measured(local, graph, [error], last, "free")
    value = (local.mlp_out[layer] - local.errors[layer])[[position]]
    logits = tiny.logits(ids, [Patch(Site(layer, "mlp_out", None, position), value)])[0, -1]
    wanted = (logits - logits.mean() - local.logits + local.logits.mean())[graph.logits[-1]]
    assert float(found) == pytest.approx(float(wanted), abs=1e-5)
    assert abs(float(wanted)) > 1e-3


class RealMlps(_Run):
    """Patterns and norms held, MLPs those of the model."""

    def _mlp(self, layer: int, output: Tensor) -> Tensor:
        return output + self.edits[layer] if layer in self.edits else output


def test_a_perfect_transcoder_responds_as_the_mlp_does(models_folder: Path, draw: Draw) -> None:
    model, whole = exact(models_folder)
    local, graph = graph_of(model, draw(model), whole)
    early = (graph.features.layer == 0).nonzero().flatten()
    targets, nodes = torch.arange(len(graph.rows)), early[graph.features.value[early].argsort()[-8:]]
    responding = measured(local, graph, nodes.tolist(), targets, "responding")
    edits = {0: torch.zeros(9, *local.mlp_out.shape[1:])}
    for place, node in enumerate(nodes.tolist(), 1):
        ((where, vector),) = written(local, graph, node).items()
        edits[0][place, where[1]] -= vector
    found = RealMlps(local, edits, 9, "responding").values(graph, targets)
    assert responding[:, -1].abs().max() > 1e-3
    assert torch.allclose(responding, found[1:] - found[0], atol=1e-5)


def test_a_logit_writes_nothing(tiny: Model, draw: Draw) -> None:
    local, graph = graph_of(tiny, draw(tiny), over(tiny))
    with pytest.raises(ValueError, match="a logit writes nothing"):
        measured(local, graph, [graph.n_nodes - 1], torch.tensor([0]), "held")
