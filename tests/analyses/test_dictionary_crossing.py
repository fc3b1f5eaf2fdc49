"""Metrics and browser of a cross-layer set: against patching by hand, layer by layer and all layers at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from analyses import dictionary_metrics, feature_browser
from analyses._contract import Context, Inputs
from analyses._dictionaries.kept import cross_contents, summed
from analyses.dictionary_metrics.crossing import TOGETHER
from analyses.feature_browser.effects import effects
from data.artifacts import Artifact
from hooks.capture import run_with_cache
from hooks.dictionaries import CrossLayer, Dictionary
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.model import Model
from hooks.sites import Site

LAYERS = (0, 1)
TEXTS = ("a b c d e f g h", "the red book is on the table", "x y z x y z x", "one two three four five")


def crossing(model: Model, bias: float = 0.0) -> CrossLayer:
    """Two layers of 12 latents at random, of which those above `bias` are active."""
    width, random = model.geometry.d_model, torch.Generator().manual_seed(0)
    parts = tuple(
        Dictionary("jumprelu", torch.randn(width, 12, generator=random),
                   torch.randn(12, (2 - place) * width, generator=random) * (bias == 0) / 10,
                   torch.zeros((2 - place) * width), torch.full((12,), bias), torch.zeros(12), centred=False)
        for place in LAYERS
    )  # fmt: skip
    return CrossLayer(LAYERS, parts, model.identity.as_dict())


def used(model: Model, one: CrossLayer) -> Context:
    tensors, meta = cross_contents(one, {})
    return Context(use={"dictionary": Artifact("clt", "dictionary", meta, tensors, "r1")}.__getitem__)


def measured(model: Model, one: CrossLayer, **spec: Any) -> Any:
    given = dictionary_metrics.MetricsSpec(dictionary="clt", **spec)
    frames = dictionary_metrics.ANALYSIS.run(model, Inputs(texts=TEXTS), given, used(model, one))
    dictionary_metrics.ANALYSIS.figures(frames, given)
    return dictionary_metrics.ANALYSIS.conform(frames)


def by_hand(model: Model, one: CrossLayer, layers: tuple[int, ...]) -> tuple[float, Tensor, Tensor]:
    """(cross-entropy a token with these layers' outputs replaced, all outputs, all reconstructions) [layer row]."""
    total, count, outputs, made = 0.0, 0, [], []
    for text in TEXTS:
        ids = torch.tensor([model.encode(text)])
        sites = [Site(layer, kind) for kind in ("ln2_normalized", "mlp_out") for layer in LAYERS]
        states = run_with_cache(model, ids, sites)
        found = one.reconstruct({layer: states[Site(layer, "ln2_normalized")][0, 1:] for layer in LAYERS})
        edits = []
        for layer in layers:
            value = states[Site(layer, "mlp_out")].clone()
            value[0, 1:] = found[layer]
            edits.append(Patch(Site(layer, "mlp_out"), value))
        log_probs = model.logits(ids, edits).log_softmax(dim=-1)[0, 1:-1]
        total -= float(log_probs.gather(1, ids[0, 2:, None]).sum())
        count += ids.shape[1] - 2
        outputs.append(torch.stack([states[Site(layer, "mlp_out")][0, 1:] for layer in LAYERS]))
        made.append(torch.stack([found[layer] for layer in LAYERS]))
    return total / count, torch.cat(outputs, dim=1), torch.cat(made, dim=1)


def test_layers_alone_and_together_are_what_patching_by_hand_gives(tiny: Model) -> None:
    one = crossing(tiny)
    frames = measured(tiny, one)
    losses = frames["losses"].set_index(["layer", "arm"])["ce"]
    for layer, replaced in ((0, (0,)), (1, (1,)), (TOGETHER, LAYERS)):
        ce, y, made = by_hand(tiny, one, replaced)
        assert losses[(layer, "dictionary")] == pytest.approx(ce, abs=1e-4)
        if layer != TOGETHER:
            missed = (y[layer] - made[layer]).square().sum() / (y[layer] - y[layer].mean(dim=0)).square().sum()
            summary = frames["summary"].set_index("layer")
            assert summary["explained"][layer] == pytest.approx(1 - float(missed), abs=1e-4)
    assert losses[(0, "dictionary")] != losses[(TOGETHER, "dictionary")] != losses[(1, "dictionary")]
    assert frames["summary"]["layer"].tolist() == [0, 1, TOGETHER]
    assert frames["summary"]["latents"].tolist() == [12, 12, 24]
    assert measured(tiny, one, layers=(1,))["summary"]["layer"].tolist() == [1, TOGETHER]
    with pytest.raises(InputError, match="has layers 0, 1"):
        measured(tiny, one, layers=(2,))


def test_a_set_that_writes_nothing_recovers_nothing(tiny: Model) -> None:
    summary = measured(tiny, crossing(tiny, -1e9))["summary"]
    assert summary["ce_recovered"].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert summary["active"].tolist() == [0, 0, 0]
    assert summary["dead"].tolist() == [1, 1, 1]


def test_cards_show_a_layers_latents_and_all_that_they_write(tiny: Model) -> None:
    one = crossing(tiny)
    spec = feature_browser.BrowserSpec(dictionary="clt")
    frames = feature_browser.ANALYSIS.run(tiny, Inputs(texts=TEXTS), spec, used(tiny, one))
    feature_browser.ANALYSIS.figures(feature_browser.ANALYSIS.conform(frames), spec)
    assert frames["about"]["writes"].iloc[0] == "hook_mlp_out of layers 0, 1, summed"
    wrote = one.writes(0, 0) + one.writes(0, 1)
    assert frames["latents"]["norm"].tolist() == pytest.approx(wrote.norm(dim=1).tolist(), rel=1e-5)
    norm = tiny.norm(None)
    logits = (norm.centre(wrote[3]) * norm.weight) @ tiny.W_U.float()
    assert effects(tiny, summed(one)[0], 4).promoted[3].tolist() == (logits - logits.mean()).topk(4).indices.tolist()
    last = feature_browser.ANALYSIS.run(
        tiny, Inputs(texts=TEXTS), spec.model_copy(update={"layer": 1}), used(tiny, one)
    )
    assert last["about"]["writes"].iloc[0] == "blocks.1.hook_mlp_out"
