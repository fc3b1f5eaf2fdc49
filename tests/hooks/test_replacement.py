"""The local replacement model: rows sum to what they are of, equal autograd's, and hold what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.gradients import run_with_gradients
from hooks.model import Model
from hooks.replacement import Transcoders, likely, memory, replaced, scores, shares
from hooks.sites import Site
from tests.hooks.conftest import Draw
from tests.hooks.replacement_toys import crossing, exact, graph_of, transcoder

FORMS = ("standard", "jumprelu", "topk", "rescaled", "gated", "skip")


def over(model: Model, form: str = "standard", layers: tuple[int, ...] = (0, 1, 2)) -> Transcoders:
    return Transcoders.of_placed([transcoder(model, layer, form) for layer in layers], model)


def agrees(rows: Tensor, bias: Tensor, values: Tensor) -> None:
    assert torch.allclose(rows.sum(dim=1) + bias, values, atol=1e-4 * float(values.abs().max()))


@pytest.mark.parametrize("form", FORMS)
def test_edges_and_biases_sum_to_what_is_read(tiny: Model, draw: Draw, form: str) -> None:
    local, graph = graph_of(tiny, draw(tiny), over(tiny, form, (0, 2)))
    assert len(graph.features) > 20
    assert {int(layer) for layer in graph.features.layer} == {0, 2}
    agrees(graph.rows, graph.bias, graph.values)
    assert graph.unexplained() < 1e-5
    assert torch.allclose(graph.values[-len(graph.logits) :], local.logits[graph.logits] - local.logits.mean())


def test_they_do_in_every_family(any_tiny: Model, draw: Draw) -> None:
    _, graph = graph_of(any_tiny, draw(any_tiny), over(any_tiny, "skip", (0, 1)))
    agrees(graph.rows, graph.bias, graph.values)
    assert graph.bias.abs().max() > 0


def test_they_do_for_a_cross_layer_set(tiny: Model, draw: Draw) -> None:
    local, graph = graph_of(tiny, draw(tiny), crossing(tiny))
    agrees(graph.rows, graph.bias, graph.values)
    first = graph.features.layer == 0
    assert graph.rows[-1, : len(graph.features)][first].abs().max() > 0
    made = torch.stack([local.errors[layer] + local.transcoders.output(layer, local.features, _inputs(local, layer))
                        for layer in range(3)])  # fmt: skip
    assert torch.allclose(made[:, 1:], local.mlp_out[:, 1:], atol=1e-5)


def _inputs(local, layer: int) -> Tensor:  # type: ignore[no-untyped-def]
    from hooks.capture import run_with_cache

    site = Site(layer, "ln2_normalized")
    return run_with_cache(local.model, local.ids[None], [site])[site][0]


def test_a_transcoder_may_read_the_stream_before_its_norm(tiny: Model, draw: Draw) -> None:
    one = Transcoders.of_placed([transcoder(tiny, 1, "skip", "resid_mid")], tiny)
    _, graph = graph_of(tiny, draw(tiny), one)
    agrees(graph.rows, graph.bias, graph.values)


@pytest.mark.parametrize("which", ["feature", "logit"])
def test_a_row_is_the_frozen_gradient(any_tiny: Model, draw: Draw, which: str) -> None:
    """By autograd through the model's own module: the gradient at each MLP's output, times what was written there."""
    model, ids = any_tiny, draw(any_tiny)
    n_layers = model.geometry.n_layers
    local, graph = graph_of(model, ids, over(model, layers=tuple(range(n_layers))))
    row = len(graph.features) - 1 if which == "feature" else len(graph.rows) - 1
    sites = [Site(layer, "mlp_out") for layer in range(n_layers)]
    if which == "logit":
        token = graph.logits[-1]
        found = run_with_gradients(
            model, ids, [*sites, Site(None, "embed")], lambda logits: logits[:, token] - logits.mean(dim=1),
            frozen=("pattern", "norms", "mlp"),
        )  # fmt: skip
        gradients = torch.stack([found.gradient(site)[0] for site in sites])
        tokens = (found.gradient(Site(None, "embed"))[0] * local.embed).sum(dim=-1)
        assert torch.allclose(graph.rows[row, graph.mask("token")], tokens, atol=1e-5)
    else:
        gradients = _gradient_of_feature(local, graph, row)
    errors = (gradients * local.errors).sum(dim=-1).flatten()
    assert torch.allclose(graph.rows[row, graph.mask("error")], errors, atol=1e-5)
    kept = graph.features
    for place in range(0, len(kept), 7):
        layer, position, index = int(kept.layer[place]), int(kept.position[place]), kept.index[place : place + 1]
        vector = kept.value[place] * local.transcoders.written(layer, layer, index)[0]
        assert float(gradients[layer, position] @ vector) == pytest.approx(float(graph.rows[row, place]), abs=1e-5)


def _gradient_of_feature(local, graph, row: int) -> Tensor:  # type: ignore[no-untyped-def]
    """[layer pos d_model] by moving the stream: the pre-activation is linear, so a step along each axis is exact."""
    from hooks.replacement.backward import Backward

    kept = graph.features
    layer, vector = int(kept.layer[row]), torch.zeros_like(local.mlp_out)
    back = Backward(local)
    norm = local.model.norm(layer, "ln2")
    encoder, _ = local.transcoders.readers(layer, kept.index[row : row + 1])
    stream = torch.zeros(len(local.ids), local.mlp_out.shape[2])
    position = int(kept.position[row])
    stream[position] = norm.centre(encoder[0]) / local.scales["ln2"][layer][position]
    for below in range(layer, 0, -1):
        if below < layer or not local.model.geometry.parallel_blocks:
            through = back._through_attention(below, stream[:, None])[:, 0]
            stream = stream + through
        vector[below - 1] = stream
    return vector


def test_what_a_cap_leaves_out_is_in_the_errors(tiny: Model, draw: Draw) -> None:
    ids, whole = draw(tiny, pos=9), over(tiny)
    _, full = graph_of(tiny, ids, whole)
    local, part = graph_of(tiny, ids, whole, most=len(full.features) // 3)
    assert (part.active, len(part.features)) == (len(full.features), len(full.features) // 3)
    agrees(part.rows, part.bias, part.values)
    logits = len(full.logits)
    assert torch.equal(part.rows[-logits:, part.mask("token")], full.rows[-logits:, full.mask("token")])
    places = local.features.layer * 1_000_000 + local.features.position * 1000 + local.features.index
    mine = torch.isin(places, part.features.layer * 1_000_000 + part.features.position * 1000 + part.features.index)
    assert torch.allclose(part.rows[-1, : len(part.features)], full.rows[-1, : len(mine)][mine])
    from hooks.replacement import influence

    effect = influence(shares(full.rows), full.targets, full.weight)[: len(mine)]
    assert effect[mine].sum() > 0.5 * effect.sum()


def test_perfect_transcoders_leave_nothing_over(models_folder: Path, draw: Draw) -> None:
    model, whole = exact(models_folder)
    local, graph = graph_of(model, draw(model), whole)
    assert local.mlp_out.norm() > 0.1
    assert local.errors.abs().max() < 1e-5
    agrees(graph.rows, graph.bias, graph.values)
    found = scores(shares(graph.rows), graph.targets, graph.weight, graph.mask("error"), graph.mask("token"))
    assert found == pytest.approx((1.0, 1.0), abs=1e-4)


def test_a_transcoder_of_nothing_leaves_paths_through_attention_alone(tiny: Model, draw: Draw) -> None:
    settings, d = {"architecture": "standard", "centred": False}, tiny.geometry.d_model
    nothing = {"W_enc": torch.zeros(d, 4), "W_dec": torch.zeros(4, d), "b_enc": torch.zeros(4), "b_dec": torch.zeros(d)}
    placed = [Placed(Dictionary.of(nothing, settings), Site(layer, "ln2_normalized"), Site(layer, "mlp_out"))
              for layer in range(3)]  # fmt: skip
    local, graph = graph_of(tiny, draw(tiny), Transcoders.of_placed(placed, tiny))
    assert not len(graph.features)
    assert torch.equal(local.errors[:, 1:], local.mlp_out[:, 1:])
    replacement, completeness = scores(
        shares(graph.rows), graph.targets, graph.weight, graph.mask("error"), graph.mask("token")
    )
    sizes = graph.rows.abs()
    by_hand = (sizes[:, graph.mask("token")].sum(dim=1) / sizes.sum(dim=1) * graph.probabilities).sum()
    assert 0 < replacement < 1
    assert replacement == pytest.approx(float(by_hand / graph.probabilities.sum()), rel=1e-4)
    assert completeness < 1


def test_layers_without_a_transcoder_are_all_error(tiny: Model, draw: Draw) -> None:
    local, graph = graph_of(tiny, draw(tiny), over(tiny, layers=(1,)))
    assert torch.equal(local.errors[0, 1:], local.mlp_out[0, 1:])
    assert not local.errors[:, 0].any()
    agrees(graph.rows, graph.bias, graph.values)


def test_the_targets_are_the_smallest_likely_set() -> None:
    logits = torch.tensor([0.6, 0.3, 0.08, 0.02]).log()
    assert likely(logits, 0.95, 10)[0].tolist() == [0, 1, 2]
    assert likely(logits, 0.95, 2)[0].tolist() == [0, 1]
    assert likely(logits, 0.5, 10)[0].tolist() == [0]
    assert memory(30_000, 3000, 30, 30, 576) < 2**30


def test_says_what_is_no_transcoder_of_mlps(tiny: Model, draw: Draw) -> None:
    sae = transcoder(tiny, 1).dictionary
    with pytest.raises(InputError, match="no transcoder of an MLP"):
        Transcoders.of_placed([Placed(sae, Site(1, "resid_post"), Site(1, "resid_post"))], tiny)
    with pytest.raises(InputError, match="two transcoders for layer 1"):
        Transcoders.of_placed([transcoder(tiny, 1), transcoder(tiny, 1)], tiny)
    normed = Dictionary.of(sae.tensors(), sae.settings() | {"layer_norm": True})
    with pytest.raises(InputError, match="normalises what it reads"):
        Transcoders.of_placed([Placed(normed, Site(1, "ln2_normalized"), Site(1, "mlp_out"))], tiny)
    with pytest.raises(InputError, match="one prompt"):
        replaced(tiny, draw(tiny, batch=2), over(tiny))
