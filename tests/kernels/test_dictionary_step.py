"""Dictionary steps: the fast version against the definition, gradients against differences, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.dictionary_step import ARCHITECTURES, COUNTED, Rule, dictionary_step, names

D_IN, D_SAE, ROWS = 7, 23, 11


def made(rule: Rule, *, d_out: int = D_IN, skip: bool = False, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"encoder": (D_SAE, D_IN), "decoder": (D_SAE, d_out), "b_dec": (d_out,)}
    found = {name: torch.randn(shapes.get(name, (D_SAE,)), generator=draw) for name in sorted(names(rule))}
    if "log_threshold" in found:
        found["log_threshold"] *= 0.2
    if skip:
        found["skip"] = torch.randn(d_out, D_IN, generator=draw)
    return found


def rule_of(architecture: str, **more: object) -> Rule:
    prefixes = (4, 11, D_SAE) if architecture == "matryoshka" else ()
    base: dict[str, object] = {"k": 3, "prefixes": prefixes, "sparsity": 0.3, "bandwidth": 0.5, "k_aux": 4}
    return Rule(architecture, **(base | more))  # type: ignore[arg-type]


def batch(d_out: int = D_IN) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(ROWS, D_IN, generator=draw)
    return x, x if d_out == D_IN else torch.randn(ROWS, d_out, generator=draw)


DEAD = torch.arange(D_SAE) % 3 == 0


@pytest.mark.parametrize("architecture", COUNTED)
@pytest.mark.parametrize("dead", [None, DEAD, torch.ones(D_SAE, dtype=torch.bool)], ids=["alive", "some dead", "all"])
@pytest.mark.parametrize(("d_out", "skip"), [(D_IN, False), (5, False), (5, True)], ids=["auto", "trans", "skip"])
def test_sparse_is_the_definition(architecture: str, dead: Tensor | None, d_out: int, skip: bool) -> None:
    rule = rule_of(architecture, centred=d_out == D_IN)
    x, target = batch(d_out)
    parameters = made(rule, d_out=d_out, skip=skip)
    slow = dictionary_step(parameters, x, target, rule, dead, backend="naive")
    fast = dictionary_step(parameters, x, target, rule, dead)
    assert (slow.backend, fast.backend) == ("naive", "sparse")
    assert fast.losses == pytest.approx(slow.losses, rel=1e-5)
    assert slow.losses["reconstruction"] > 0
    assert (dead is None) == (slow.losses["auxiliary"] == 0)
    assert fast.active == pytest.approx(slow.active)
    assert fast.smallest == pytest.approx(slow.smallest)
    assert torch.equal(fast.fired, slow.fired)
    for name, one in slow.gradients.items():
        assert torch.allclose(fast.gradients[name], one, atol=2e-5), name
        assert float(one.abs().max()) > 0, name


@pytest.mark.parametrize("k", [1, D_SAE])
def test_odd_sizes(k: int) -> None:
    """One row; everything kept; a row where nothing is positive."""
    rule = rule_of("topk", k=k)
    parameters, x = made(rule), batch()[0][:1]
    for shift in (0.0, -1e3):
        parameters["b_enc"] += shift
        slow, fast = (dictionary_step(parameters, x, x, rule, backend=which) for which in ("naive", "sparse"))
        assert fast.losses == pytest.approx(slow.losses, rel=1e-5)
        assert fast.active == slow.active
        for name, one in slow.gradients.items():
            assert torch.allclose(fast.gradients[name], one, atol=2e-5), name
    assert fast.active == 0
    assert fast.smallest == 0.0


@pytest.mark.parametrize("architecture", [one for one in ARCHITECTURES if one not in ("gated", "jumprelu")])
def test_gradients_are_differences_of_the_loss(architecture: str) -> None:
    """Where nothing is held constant; gated and JumpReLU are estimators, and are tested by their own rules."""
    rule = rule_of(architecture, auxiliary=0.0)
    x, target = (one.double() for one in batch())
    parameters = {name: one.double() for name, one in made(rule).items()}
    found = dictionary_step(parameters, x, target, rule, backend="naive").gradients
    for name, one in parameters.items():
        place = int(found[name].abs().argmax())
        losses = []
        for shift in (1e-6, -1e-6):
            moved = one.clone()
            moved.view(-1)[place] += shift
            losses.append(
                sum(dictionary_step(parameters | {name: moved}, x, target, rule, backend="naive").losses.values())
            )
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float(found[name].view(-1)[place]), rel=1e-4), name


def test_a_threshold_is_pulled_from_both_sides() -> None:
    """Gradient of the count at θ: −1/ε for z within ε/2 of it, above or below, and nothing further away."""
    rule = Rule("jumprelu", k=2, sparsity=1.0, bandwidth=0.2, auxiliary=0.0)
    z = torch.tensor([[0.95, 1.05, 0.85, 1.15]])
    parameters = {
        "encoder": torch.zeros(4, 1), "decoder": torch.zeros(4, 1), "b_enc": z[0], "b_dec": torch.zeros(1),
        "log_threshold": torch.zeros(4),
    }  # fmt: skip
    step = dictionary_step(parameters, torch.zeros(1, 1), torch.ones(1, 1), rule)
    # two are above: L0 = 2 is the wanted one, where the penalty is flat; with 1 wanted it is 2·(2/1 − 1)/1 a count
    assert step.gradients["log_threshold"].tolist() == [0, 0, 0, 0]
    step = dictionary_step(
        parameters, torch.zeros(1, 1), torch.ones(1, 1), Rule("jumprelu", k=1, sparsity=1.0, bandwidth=0.2)
    )
    assert step.gradients["log_threshold"].tolist() == pytest.approx([-10, -10, 0, 0])
    assert step.active == 2
    assert step.losses["sparsity"] == pytest.approx(1.0)


def test_a_gate_learns_from_its_own_reconstruction() -> None:
    """A latent of no magnitude still gets a gradient at its gate, and none at its decoder."""
    rule = rule_of("gated")
    parameters = made(rule)
    parameters["b_mag"] -= 1e3
    step = dictionary_step(parameters, *batch(), rule)
    assert step.active == 0
    assert float(step.gradients["b_gate"].abs().max()) > 0
    assert float(step.gradients["decoder"].abs().max()) == 0


def test_a_matryoshka_of_one_prefix_is_batch_topk() -> None:
    whole, nested = rule_of("batch_topk"), rule_of("matryoshka", prefixes=(D_SAE,))
    one, other = (dictionary_step(made(whole), *batch(), rule, DEAD) for rule in (whole, nested))
    assert one.losses == pytest.approx(other.losses)
    assert torch.allclose(one.gradients["decoder"], other.gradients["decoder"], atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    rule = rule_of("topk")
    parameters, (x, target) = made(rule), batch()
    with pytest.raises(ValueError, match="architecture must be one of"):
        Rule("relu")
    with pytest.raises(ValueError, match="prefixes must rise"):
        Rule("matryoshka", k=2, prefixes=(4, 4))
    with pytest.raises(ValueError, match="needs k"):
        Rule("jumprelu")
    with pytest.raises(ValueError, match=r"x \[row 7\]"):
        dictionary_step(parameters, x[:, :5], target, rule)
    with pytest.raises(ValueError, match="has b_dec, b_enc, decoder, encoder; got"):
        dictionary_step(parameters | {"log_threshold": torch.zeros(D_SAE)}, x, target, rule)
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 77"):
        dictionary_step(
            parameters, x.index_fill(0, torch.tensor([2]), 1.0).masked_fill(_one(x), torch.nan), target, rule
        )
    with pytest.raises(ValueError, match="k must be 1 to d_sae"):
        dictionary_step(parameters, x, target, rule_of("topk", k=24))
    with pytest.raises(ValueError, match="the sparse version knows"):
        dictionary_step(made(rule_of("standard")), x, target, rule_of("standard"), backend="sparse")
    with pytest.raises(ValueError, match="backend must be one of"):
        dictionary_step(parameters, x, target, rule, backend="fast")


def _one(x: Tensor) -> Tensor:
    place = torch.zeros_like(x, dtype=torch.bool)
    place[1, 1] = True
    return place
