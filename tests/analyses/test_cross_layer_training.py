"""Cross-layer transcoders: what earlier latents do to later layers is learnt; units, keeping, going on, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from analyses._contract import Context, Inputs
from analyses._dictionaries.cross_training import CrossTraining
from analyses._dictionaries.kept import KIND, all_of, cross_contents, cross_of, is_cross
from analyses._dictionaries.training import Schedule
from analyses.train_dictionary import ANALYSIS, TrainSpec
from data.artifacts import Artifact
from hooks.dictionaries import CrossLayer
from hooks.errors import InputError
from hooks.model import Model
from kernels.dictionary_step import Rule

N, WIDTH, ROWS = 3, 12, 6000


def planted() -> tuple[Tensor, Tensor]:
    """Features of each layer's input that write to its own output and to the last one; outputs in their own units."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(N, 20, WIDTH, generator=draw)
    directions /= directions.norm(dim=2, keepdim=True)
    active = (torch.rand(N, ROWS, 20, generator=draw) < 0.1) * (0.5 + torch.rand(N, ROWS, 20, generator=draw))
    x = active @ directions
    out = torch.randn(N, 2, 20, WIDTH, generator=draw)
    y = torch.stack([active[layer] @ out[layer, 0] for layer in range(N)])
    y[-1] += sum((active[layer] @ out[layer, 1] for layer in range(N - 1)), torch.zeros(ROWS, WIDTH))
    return 3 * x, y * torch.tensor([5.0, 1.0, 40.0])[:, None, None]


def trained(steps: int = 500) -> tuple[CrossTraining, Tensor, Tensor]:
    x, y = planted()
    made = CrossTraining(x, y, Rule("batch_topk", k=3, centred=False), 40, Schedule(steps, 256, 0.005, 20 * 256))
    for _ in made.run():
        pass
    return made, x, y


def explained(made: CrossLayer, x: Tensor, y: Tensor) -> list[float]:
    found = made.reconstruct(dict(zip(made.layers, x, strict=True)))
    return [1 - float((y[at] - found[layer]).square().sum() / (y[at] - y[at].mean(dim=0)).square().sum())
            for at, layer in enumerate(made.layers)]  # fmt: skip


def test_latents_write_to_later_layers() -> None:
    training, x, y = trained()
    made = training.finished([2, 5, 9], {})
    whole = explained(made, x, y)
    assert min(whole) > 0.75
    assert made.writes(2, 9).shape == (40, WIDTH)
    alone = dict(zip(made.layers, x, strict=True)) | {2: torch.zeros_like(x[0]), 5: torch.zeros_like(x[1])}
    last = made.reconstruct(alone)[9]
    assert 1 - float((y[2] - last).square().sum() / (y[2] - y[2].mean(dim=0)).square().sum()) < whole[2] - 0.2
    for place, part in enumerate(made.parts):
        assert torch.allclose(part.W_dec.norm(dim=1), torch.ones(40), atol=1e-5)
        assert part.d_out == (N - place) * WIDTH
    with pytest.raises(InputError, match="latents of layer 5 write to layer 5 and later ones, not to 2"):
        made.writes(5, 2)
    with pytest.raises(InputError, match="activations of layer 5 are wanted too"):
        made.reconstruct({2: x[0], 9: x[2]})


def test_a_stopped_training_goes_on_as_it_would_have() -> None:
    whole, x, y = trained(30)
    first, second = (CrossTraining(x, y, whole.rule, 40, whole.schedule) for _ in range(2))
    for _ in range(11):
        next(first.run())
    second.restore({name: one.clone() for name, one in first.state().items()})
    for _ in second.run():
        pass
    for name, one in whole.state().items():
        assert torch.equal(second.state()[name], one), name


def test_it_is_trained_kept_and_read_again(tiny: Model) -> None:
    kept: dict[str, Any] = {}

    def keep(name: str, kind: str, tensors: Any, meta: Any) -> None:
        kept[name] = Artifact(name, kind, dict(meta), dict(tensors), "r")

    spec = TrainSpec(kind="cross_layer", layers=(0, 1), latents=24, active=3, drawn=200, length=8, steps=4, batch=32,
                     points=2, keep_as="clt")  # fmt: skip
    frames = ANALYSIS.run(tiny, Inputs(prompt="x"), spec, Context(keep=keep))
    assert frames["summary"]["layer"].tolist() == [0, 1]
    assert frames["curve"].groupby("layer")["step"].max().tolist() == [4, 4]
    assert kept["clt"].kind == KIND
    assert is_cross(kept["clt"])
    with pytest.raises(InputError, match="write to several layers; here dictionaries of single layers"):
        all_of(kept["clt"], tiny)
    found = cross_of(kept["clt"], tiny)
    tensors, meta = cross_contents(found, {})
    again = Artifact("again", KIND, meta, tensors, "r")
    for one, other in zip(found.parts, cross_of(again).parts, strict=True):
        assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    changed = Artifact("x", KIND, kept["clt"].meta | {"model": {"revision": "other"}}, kept["clt"].tensors, "r")
    with pytest.raises(InputError, match="made for a model of revision 'other'"):
        cross_of(changed, tiny)
    with pytest.raises(InputError, match="does not hold a cross-layer transcoder"):
        cross_of(Artifact("x", KIND, {"layers": [0]}, {}, "r"))


@pytest.mark.parametrize("options", [{"layers": (1,)}, {"layers": (0, 1), "architecture": "standard"}])
def test_what_cannot_be_crossed_is_refused(tiny: Model, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="it is trained by batch_topk, on two layers or more"):
        ANALYSIS.check(tiny, Inputs(prompt="x"), TrainSpec(kind="cross_layer", **options))
