"""The logit lens: its last row is the model, its other rows are the residual stream read by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from analyses import _lens
from analyses._contract import Context, Frames, Inputs
from analyses.logit_lens import ANALYSIS, LensSpec, run
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site

PROMPT = "When John and Mary went to the store, John gave a drink to"


def frames(model: Model, prompt: str = PROMPT, **spec: object) -> Frames:
    return ANALYSIS.conform(run(model, Inputs(prompt=prompt), LensSpec.model_validate(spec), Context()))


def real_log_probs(model: Model, prompt: str = PROMPT) -> Tensor:
    """[pos d_vocab] of the plain model."""
    with torch.no_grad():
        return model.logits(model.tokens(prompt))[0].log_softmax(dim=-1)


def row(frame: pd.DataFrame, layer: int) -> pd.DataFrame:
    return frame[frame["layer"] == layer]


def test_last_row_is_the_models_output(any_tiny: Model) -> None:
    found, wanted = frames(any_tiny, top_k=50), real_log_probs(any_tiny)
    last = row(found["top"], any_tiny.geometry.n_layers - 1)
    for position, cell in last.groupby("position"):
        here = wanted[int(position)]
        ids = torch.tensor(cell["token_id"].to_numpy())
        np.testing.assert_allclose(cell["log_probability"], here[ids], atol=1e-5)
        np.testing.assert_allclose(cell["log_probability"], here.topk(50).values, atol=1e-5)
        np.testing.assert_allclose(cell["probability"], np.exp(cell["log_probability"]))
    cells = row(found["cells"], any_tiny.geometry.n_layers - 1)
    np.testing.assert_allclose(cells["entropy"], -(wanted.exp() * wanted).sum(dim=-1), atol=1e-5)
    assert cells["kl_to_final"].abs().max() < 1e-6


@pytest.mark.parametrize("final_norm", [True, False], ids=["normed", "raw"])
def test_every_row_by_hand(any_tiny: Model, final_norm: bool) -> None:
    found = frames(any_tiny, top_k=3, targets=[" Mary"], final_norm=final_norm)
    layers = range(any_tiny.geometry.n_layers)
    sites = {-1: Site(0, "resid_pre")} | {layer: Site(layer, "resid_post") for layer in layers}
    cache = run_with_cache(any_tiny, any_tiny.tokens(PROMPT), sites.values())
    output, target = real_log_probs(any_tiny), any_tiny.single_token(" Mary")
    for layer, site in sites.items():
        stream = cache[site][0]
        logits = (any_tiny.final_norm(stream) if final_norm else stream) @ any_tiny.W_U
        read = logits.log_softmax(dim=-1)
        cells, followed = row(found["cells"], layer), row(found["targets"], layer)
        kl = (output.exp() * (output - read)).sum(dim=-1)
        np.testing.assert_allclose(cells["kl_to_final"], kl, atol=1e-4, rtol=1e-5)
        np.testing.assert_allclose(followed["log_probability"], read[:, target], atol=1e-4, rtol=1e-5)
        assert list(followed["rank"]) == (read > read[:, [target]]).sum(dim=-1).tolist()
        assert list(row(found["top"], layer)["token_id"]) == read.topk(3).indices.flatten().tolist()


def test_embedding_row_is_what_enters_layer_0(tiny: Model) -> None:
    """A Llama has no positions in its stream, so the same token gives the same embedding row wherever it stands."""
    found = frames(tiny)
    assert sorted(found["cells"]["layer"].unique()) == list(range(-1, tiny.geometry.n_layers))
    embed = row(found["cells"], -1).set_index("position")
    johns = [place for place, token in embed["token"].items() if token == " John"]
    assert len(johns) == 2
    assert embed.loc[johns[0], "entropy"] == pytest.approx(embed.loc[johns[1], "entropy"], abs=1e-6)


def test_without_targets_the_models_own_next_token_is_followed(tiny: Model) -> None:
    found, best = frames(tiny)["targets"], real_log_probs(tiny).argmax(dim=-1)
    last = row(found, tiny.geometry.n_layers - 1)
    assert list(last["target_id"]) == best.tolist()
    assert (last["rank"] == 0).all()
    assert list(row(found, 0)["target_id"]) == best.tolist()


def test_positions_are_a_part_of_the_whole(tiny: Model) -> None:
    whole, part = frames(tiny), frames(tiny, positions=[-1, 3])
    last = whole["cells"]["position"].max()
    for name in ("cells", "top", "targets"):
        kept = whole[name][whole[name]["position"].isin([3, last])].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[name], kept, check_exact=False, rtol=1e-4, atol=1e-5)


def test_a_few_layers_at_a_time_is_the_same(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames(tiny)
    monkeypatch.setattr(_lens, "TOGETHER", 1)
    for name, frame in frames(tiny).items():
        pd.testing.assert_frame_equal(frame, whole[name], check_exact=False, rtol=1e-4, atol=1e-5)


def test_uniform_logits_have_the_largest_entropy(tiny: Model) -> None:
    bound = math.log(tiny.geometry.d_vocab)
    assert frames(tiny)["cells"]["entropy"].between(0, bound + 1e-6).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"targets": [" Mary gave"]}, r"' Mary gave' is \d+ tokens \( Mary \|  gave\)"),
        ({"positions": [99]}, "position 99 does not exist: the prompt has 14 tokens, 0 to 13"),
        ({"positions": [-15]}, "position -15 does not exist"),
    ],
)
def test_refuses(tiny: Model, spec: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        frames(tiny, **spec)


def test_refuses_an_empty_prompt_and_too_many_cells(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="empty"):
        frames(tiny, "")
    monkeypatch.setattr(_lens, "ROWS", 100)
    with pytest.raises(InputError, match="choose positions, or a smaller top_k"):
        frames(tiny)


def test_refuses_logits_that_are_not_numbers(tiny: Model) -> None:
    weight = tiny.module.get_submodule(tiny.anatomy.final_norm).weight
    before = weight.detach().clone()
    try:
        weight.data[0] = float("nan")
        with pytest.raises(InputError, match=r"the embedding, position 2, are not finite"):
            frames(tiny, positions=[2, 3])
    finally:
        weight.data.copy_(before)


def test_figures_show_one_position_in_lines(tiny: Model) -> None:
    spec = LensSpec(targets=(" Mary", " John"), position=3)
    drawn = ANALYSIS.figures(frames(tiny, targets=[" Mary", " John"]), spec)
    assert list(drawn) == ["top_tokens", "entropy", "kl_to_final", "target_log_probability", "target_rank"]
    assert [trace.name for trace in drawn["target_rank"].data] == ["␣Mary", "␣John"]
    assert "position 3" in drawn["target_rank"].layout.meta["title"]
    assert min(drawn["target_rank"].data[0].y) >= 1
    words = drawn["top_tokens"].layout.meta["words"]
    assert len(words) == tiny.geometry.n_layers + 1


def test_figures_refuse_a_position_that_was_not_read(tiny: Model) -> None:
    found = frames(tiny, positions=[2, 5])
    with pytest.raises(InputError, match="position 3 was not read; read: 2, 5"):
        ANALYSIS.figures(found, LensSpec(position=3))


@pytest.mark.real
def test_paris_on_the_real_model(real: Model) -> None:
    found = frames(real, "The capital of France is", targets=[" Paris"], positions=[-1], top_k=1)
    last = row(found["top"], 29).iloc[0]
    assert last["token"] == " Paris"
    assert last["probability"] == pytest.approx(0.77, abs=0.02)
    assert row(found["targets"], 10).iloc[0]["rank"] > 100
