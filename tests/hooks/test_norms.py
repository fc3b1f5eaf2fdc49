"""A norm taken apart equals the norm itself, for LayerNorm and RMSNorm."""

from __future__ import annotations

import pytest
import torch

from hooks.capture import run_with_cache
from hooks.model import Model
from hooks.norms import Norm
from hooks.sites import Site


def norms(model: Model) -> list[Norm]:
    return [model.norm(None), model.norm(0, "ln1"), model.norm(1, "ln2")]


def stream(model: Model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, model.geometry.d_model, generator=generator) * 3 + 0.7


def test_parts_put_together_are_the_module(any_tiny: Model) -> None:
    x = stream(any_tiny)
    for norm in norms(any_tiny):
        whole = norm.linear(x, norm.scale(x)) + (0 if norm.bias is None else norm.bias)
        torch.testing.assert_close(whole, norm.module(x), atol=1e-5, rtol=1e-5)


def test_with_its_scale_frozen_a_norm_is_linear(any_tiny: Model) -> None:
    x = stream(any_tiny)
    parts = torch.stack([0.3 * x, x.flip(0), x - 0.3 * x - x.flip(0)])
    for norm in norms(any_tiny):
        scale = norm.scale(x)
        torch.testing.assert_close(norm.linear(parts, scale).sum(dim=0), norm.linear(x, scale), atol=1e-4, rtol=1e-4)


def test_only_layer_norm_centres(any_tiny: Model) -> None:
    for norm in norms(any_tiny):
        assert norm.centres == (any_tiny.geometry.family in ("gpt2", "gpt_neox")) == (norm.bias is not None)


def test_by_hand() -> None:
    layer_norm = Norm(torch.nn.LayerNorm(2, eps=0.0))
    x = torch.tensor([1.0, 5.0])
    assert layer_norm.scale(x).tolist() == [2.0]
    assert layer_norm.linear(x, layer_norm.scale(x)).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(("which", "read"), [("ln1", "resid_pre"), ("ln2", "resid_mid")])
def test_captured_scale_and_normalised_are_the_norms_own(any_tiny: Model, draw, which: str, read: str) -> None:
    source = Site(1, "resid_pre" if any_tiny.geometry.parallel_blocks else read)
    scale, normalised = Site(1, f"{which}_scale"), Site(1, f"{which}_normalized")
    cache = run_with_cache(any_tiny, draw(any_tiny, 1, 5), [source, scale, normalised])
    norm = any_tiny.norm(1, which)
    assert torch.equal(cache[scale], norm.scale(cache[source]))
    whole = cache[normalised] * norm.weight + (0 if norm.bias is None else norm.bias)
    torch.testing.assert_close(whole, norm.module(cache[source]), atol=1e-5, rtol=1e-5)
