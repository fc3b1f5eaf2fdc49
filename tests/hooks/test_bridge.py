"""The bridge is a second structure over the same tensors: no weight is held twice, and both lanes agree."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from hooks.load import load
from hooks.model import Model


def storages(tensors: Iterable[Tensor]) -> set[int]:
    """Addresses of the memory behind tensors; a view has its owner's."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


def test_no_weight_is_held_twice(any_tiny: Model) -> None:
    ours = storages(any_tiny.module.parameters())
    extra = [name for name, weight in any_tiny.bridge.named_parameters() if not storages([weight]) <= ours]
    assert ours <= storages(any_tiny.bridge.parameters())
    if any_tiny.geometry.family == "gpt_neox":
        # Interleaved q, k, v have no views of their own: TransformerLens copies them, and nothing else.
        assert len(extra) == any_tiny.geometry.n_layers * 6
        assert all(re.search(r"attention\.[qkv]\._original_component\.(weight|bias)$", name) for name in extra)
    else:
        assert not extra


def test_every_buffer_of_the_model_is_shared(any_tiny: Model) -> None:
    assert storages(any_tiny.module.buffers()) <= storages(any_tiny.bridge.original_model.buffers())


def test_nothing_of_the_bridge_stays_empty(any_tiny: Model) -> None:
    assert not any(p.is_meta for p in [*any_tiny.bridge.parameters(), *any_tiny.bridge.buffers()])


def test_both_lanes_agree(any_tiny: Model, draw) -> None:
    ids = draw(any_tiny, 3, 9)
    torch.testing.assert_close(any_tiny.bridge(ids, return_type="logits"), any_tiny.logits(ids), atol=1e-4, rtol=1e-4)


def test_building_the_bridge_leaves_the_fast_lane_alone(models_folder, draw) -> None:
    fresh = load("toy:random", models_folder)
    ids = draw(fresh)
    names = [(name, type(part)) for name, part in fresh.module.named_modules()]
    before, special = fresh.logits(ids), dict(fresh.tokenizer.special_tokens_map)
    fresh.bridge(ids)
    assert torch.equal(fresh.logits(ids), before)
    assert fresh.tokenizer.special_tokens_map == special
    assert [(name, type(part)) for name, part in fresh.module.named_modules()] == names


def test_a_changed_weight_is_seen_by_both_lanes(models_folder, draw) -> None:
    fresh = load("toy:random", models_folder)
    ids = draw(fresh)
    before = fresh.bridge(ids, return_type="logits")
    with torch.no_grad():
        fresh.W_O(1).mul_(3.0)
    torch.testing.assert_close(fresh.bridge(ids, return_type="logits"), fresh.logits(ids), atol=1e-4, rtol=1e-4)
    assert (fresh.logits(ids) - before).abs().max() > 1e-2


def test_the_bridge_gives_gradients(any_tiny: Model, draw) -> None:
    """Gradient of the summed last logits with respect to resid_pre, against a finite difference in the fast lane."""
    from hooks.interventions import Add
    from hooks.sites import Site

    ids, site = draw(any_tiny, 1, 5), Site(1, "resid_pre")
    kept: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: object) -> Tensor:
        kept["resid"] = activation.detach().clone().requires_grad_()
        return kept["resid"]

    with torch.enable_grad():
        logits = any_tiny.bridge.run_with_hooks(ids, fwd_hooks=[(site.name, keep)])
        log_p = logits[0, -1].log_softmax(-1)[0]
        (gradient,) = torch.autograd.grad(log_p, kept["resid"])
    step = gradient / gradient.norm() * 1e-2
    up, down = (any_tiny.logits(ids, [Add(site, step, sign)])[0, -1].log_softmax(-1)[0] for sign in (1.0, -1.0))
    torch.testing.assert_close((up - down) / 2e-2, gradient.norm(), rtol=2e-2, atol=1e-4)
