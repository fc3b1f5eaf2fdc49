"""Cross-layer steps: the fast version against the definition; one layer alone is a transcoder; what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.dictionary_step import Rule, cross_layer_step, dictionary_step
from kernels.dictionary_step.cross_layer import naive_step

N, ROWS, D_IN, D_OUT, D_SAE = 3, 11, 6, 5, 17
DEAD = torch.arange(D_SAE) % 4 == 0


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def layers(n: int = N) -> list[dict[str, Tensor]]:
    return [
        {"encoder": drawn(D_SAE, D_IN, seed=10 * place), "decoder": drawn(D_SAE, (n - place) * D_OUT, seed=place),
         "b_enc": drawn(D_SAE, seed=place), "b_dec": drawn(D_OUT, seed=place)}
        for place in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", ["topk", "batch_topk"])
@pytest.mark.parametrize("dead", [None, [DEAD, None, ~DEAD]], ids=["alive", "dead"])
def test_fast_is_the_definition(architecture: str, dead: list[Tensor | None] | None) -> None:
    rule = Rule(architecture, k=3, k_aux=4, centred=False)
    x, target = drawn(N, ROWS, D_IN), drawn(N, ROWS, D_OUT)
    slow, fast = (step(layers(), x, target, rule, dead) for step in (naive_step, cross_layer_step))
    assert len(slow) == len(fast) == N
    for one, other in zip(slow, fast, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-5)
        assert (one.active, one.smallest) == pytest.approx((other.active, other.smallest))
        assert torch.equal(one.fired, other.fired)
        for name, gradient in one.gradients.items():
            assert torch.allclose(other.gradients[name], gradient, atol=3e-5), name
            assert float(gradient.abs().max()) > 0, name
    assert (slow[2].losses["auxiliary"] > 0) == (dead is not None)


def test_an_early_latent_is_pulled_by_later_targets() -> None:
    """Another target of the last layer changes the first layer's gradient, and not the other way round."""
    rule = Rule("topk", k=3, auxiliary=0.0, centred=False)
    x, target = drawn(N, ROWS, D_IN), drawn(N, ROWS, D_OUT)
    plain = cross_layer_step(layers(), x, target, rule)
    for moved, changed in ((2, [True, True, True]), (0, [True, False, False])):
        other = target.clone()
        other[moved] += 1
        found = cross_layer_step(layers(), x, other, rule)
        assert [not torch.equal(one.gradients["encoder"], two.gradients["encoder"])
                for one, two in zip(plain, found, strict=True)] == changed  # fmt: skip


def test_one_layer_is_a_transcoder() -> None:
    rule = Rule("batch_topk", k=2, k_aux=4, centred=False)
    x, target = drawn(1, ROWS, D_IN), drawn(1, ROWS, D_OUT)
    (one,) = cross_layer_step(layers(1), x, target, rule, [DEAD])
    other = dictionary_step(layers(1)[0], x[0], target[0], rule, DEAD)
    assert one.losses == pytest.approx(other.losses, rel=1e-6)
    for name, gradient in other.gradients.items():
        assert torch.allclose(one.gradients[name], gradient, atol=1e-6), name


def test_what_does_not_fit_is_refused() -> None:
    x, target = drawn(N, ROWS, D_IN), drawn(N, ROWS, D_OUT)
    rule = Rule("topk", k=3, centred=False)
    with pytest.raises(ValueError, match="topk or batch_topk, not centred"):
        cross_layer_step(layers(), x, target, Rule("topk", k=3))
    with pytest.raises(ValueError, match="of 3 layers are wanted"):
        cross_layer_step(layers(), x[:2], target[:2], rule)
    with pytest.raises(ValueError, match="layer 1: decoder must be"):
        cross_layer_step([layers()[0], layers()[0], layers()[2]], x, target, rule)
    with pytest.raises(ValueError, match="k must be 1 to d_sae = 17, got 18"):
        cross_layer_step(layers(), x, target, Rule("topk", k=18, centred=False))
    with pytest.raises(ValueError, match="x has NaN or infinity in 1 of"):
        cross_layer_step(
            layers(),
            x.index_put((torch.tensor(1), torch.tensor(2), torch.tensor(3)), torch.tensor(torch.nan)),
            target,
            rule,
        )
