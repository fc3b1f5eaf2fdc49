"""The neuron reader by identities: planted words are read back, a model agrees with itself, seeds by chance only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import hooks.checkpoints.untrained as untrained
from analyses._contract import Context, Frames, Inputs
from analyses._neurons import directions_of, rows, through_final_norm, words_of
from analyses._neurons import words as words_module
from analyses.neuron_reader import ReaderSpec, _check, run
from analyses.neuron_reader.figures import figures, found
from data.store import RunRecord, Store
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.trials import INPUTS

PROMPT = INPUTS["prompt"]


def read(model: Model, other: Model | None = None, inputs: Inputs = PROMPT, **options: object) -> Frames:
    named = {} if other is None else {"other": "the other"}
    spec = ReaderSpec.model_validate(named | options)
    return run(model, inputs, spec, Context(use={"other": other}.__getitem__))


@contextmanager
def planted(model: Model, layer: int, direction: str, neuron: int, vector: torch.Tensor) -> Iterator[None]:
    """One neuron's direction replaced for a while."""
    weight = {"out": model.W_out, "in": lambda one: model.W_in(one).T, "gate": lambda one: model.W_gate(one).T}
    there = weight[direction](layer)[neuron]
    before = there.clone()
    there.copy_(vector)
    try:
        yield
    finally:
        there.copy_(before)


@pytest.mark.parametrize("block", [64, 100, 8192])
def test_words_are_those_of_all_products_at_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "BLOCK", block)
    monkeypatch.setattr(words_module, "ROWS", 7)
    drawn = torch.Generator().manual_seed(3)
    directions, W_U = torch.randn(20, 6, generator=drawn), torch.randn(6, 333, generator=drawn)
    W_U[:, 200] = W_U[:, 50]  # a tie goes to the lower id
    directions[0] = W_U[:, 50] * 100
    words, logits = words_of(directions, W_U, 5), directions @ W_U
    for values, ids, sign in (
        (words.promoted_values, words.promoted, 1), (words.suppressed_values, words.suppressed, -1),
    ):  # fmt: skip
        best, places = (sign * logits).sort(dim=1, descending=True, stable=True)
        torch.testing.assert_close(sign * values, best[:, :5])
        assert torch.equal(ids, places[:, :5])
    torch.testing.assert_close(words.mean, logits.mean(dim=1))
    torch.testing.assert_close(words.spread, logits.std(dim=1, correction=0))


@pytest.mark.parametrize("k", [0, 334])
def test_a_number_of_words_that_is_not_there_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="from 1 to d_vocab = 333"):
        words_of(torch.ones(1, 6), torch.ones(6, 333), k)
    with pytest.raises(ValueError, match="NaN"):
        words_of(torch.full((1, 6), float("nan")), torch.ones(6, 333), 1)


def test_a_planted_unembedding_row_is_read_back(any_tiny: Model) -> None:
    """The longest unembedding row: no other has a larger product with it."""
    token = int(any_tiny.W_U.norm(dim=0).argmax())
    for direction in directions_of(any_tiny):
        with planted(any_tiny, 1, direction, 5, any_tiny.W_U[:, token]):
            words = read(any_tiny, layers=[1])["words"]
        mine = words[(words["neuron"] == 5) & (words["direction"] == direction) & (words["rank"] == 1)]
        assert mine["token_id"].tolist() == [token]
        assert mine["value"].item() == pytest.approx(float(any_tiny.W_U[:, token].square().sum()), rel=1e-5)


def test_with_the_final_norm_a_written_direction_is_what_the_logits_gain(any_tiny: Model) -> None:
    """A frozen scale makes the final norm linear: the logits' change is the value over that scale."""
    norm, out = any_tiny.norm(None), rows(any_tiny, 1, "out")
    residual = torch.randn(1, any_tiny.geometry.d_model, generator=torch.Generator().manual_seed(1))
    scale = norm.scale(residual)
    gain = (norm.linear(residual + out[4], scale) - norm.linear(residual, scale)) @ any_tiny.W_U.float()
    values = rows(any_tiny, 1, "out", "final")[4] @ any_tiny.W_U.float()
    torch.testing.assert_close(gain[0], values / scale[0], rtol=1e-3, atol=1e-5)
    assert torch.equal(through_final_norm(any_tiny, out, "none"), out)


def test_a_read_direction_with_norms_takes_its_own_norm_first(any_tiny: Model) -> None:
    """What the neuron reads of a residual is the product with the direction, over the scale of its layer's norm."""
    own = any_tiny.norm(1, "ln2")
    weights = torch.linspace(0.5, 1.5, any_tiny.geometry.d_model)
    before = own.module.weight.detach().clone()
    try:
        own.module.weight.data.copy_(weights)
        residual = torch.randn(3, any_tiny.geometry.d_model, generator=torch.Generator().manual_seed(2))
        seen = own.linear(residual, own.scale(residual)) @ rows(any_tiny, 1, "in").T
        folded = own.centre(rows(any_tiny, 1, "in") * own.weight)
        torch.testing.assert_close(residual @ folded.T / own.scale(residual), seen, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rows(any_tiny, 1, "in", "final"), through_final_norm(any_tiny, folded, "final"))
    finally:
        own.module.weight.data.copy_(before)


def test_activations_and_norms_are_the_models(tiny: Model) -> None:
    frame = read(tiny, layers=[2])["neurons"]
    site = Site(2, "mlp_post")
    values = run_with_cache(tiny, tiny.tokens(str(PROMPT.prompt)), [site])[site][0]
    assert len(frame) == tiny.geometry.d_mlp
    for row in frame.head(9).to_dict("records"):
        mine = values[:, row["neuron"]]
        assert row["last"] == float(mine[-1])
        assert abs(row["peak"]) == float(mine.abs().max())
        assert row["peak"] == float(mine[row["at"]])
        assert row["out_norm"] == pytest.approx(float(tiny.W_out(2)[row["neuron"]].norm()))


def test_a_model_agrees_with_itself(any_tiny: Model) -> None:
    frames = read(any_tiny, any_tiny)
    assert (frames["agreement"]["same_top"] == 1.0).all()
    assert (frames["agreement"]["overlap"] == 1.0).all()
    assert (frames["agreement"]["chance"] < 0.5).all()
    assert np.allclose(frames["weights"]["cosine_low"], 1.0)
    layers = any_tiny.geometry.n_layers
    assert len(frames["agreement"]) == (layers + 1) * 2 * len(directions_of(any_tiny))


def test_two_untrained_seeds_agree_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for seed in (0, 1):
        monkeypatch.setattr(untrained, "SEED", seed)
        made.append(load("untrained:toy:random", tmp_path / str(seed)))
    table = read(*made)["agreement"].query("layer.isna()", engine="python")
    assert len(table) == 6
    for row in table.to_dict("records"):
        spread = np.sqrt(row["chance"] * (1 - row["chance"]) / row["neurons"])
        assert 0 < row["chance"] < 0.1
        assert abs(row["same_top"] - row["chance"]) < 4 * spread


def test_chance_is_that_of_neurons_paired_at_random(tiny: Model) -> None:
    words = read(tiny, layers=[0], directions=["out"])["words"]
    tops = words[words["rank"] == 1].sort_values("neuron")["token_id"].to_numpy()
    expected = np.mean(tops[:, None] == tops[None, :])
    table = read(tiny, tiny, layers=[0], directions=["out"])["agreement"]
    assert table.loc[table["side"] == "promoted", "chance"].tolist() == pytest.approx([expected, expected])


def test_neurons_of_a_token_are_found_alike_in_sql_and_in_the_picture(tiny: Model, workspace: Path) -> None:
    frames = read(tiny)
    token = frames["words"].query("rank == 1")["token"].iloc[0]
    spec = ReaderSpec(token=token, alike=False, side="promoted")
    rows_found = found(frames["words"], spec)
    store, made = Store(workspace), "2026-11-21T00:00:00+00:00"
    store.save_run(RunRecord("0" * 24, "neuron_reader", 1, {}, {}, {}, {}, "done", "", 0.0, made), frames)
    where = "token = '{}' AND rank > 0".format(token.replace("'", "''"))
    sql = store.query(f"SELECT layer, neuron, direction FROM neuron_reader__words WHERE {where}")
    names = ["layer", "neuron", "direction"]
    assert len(rows_found) == len(sql) > 0
    assert set(map(tuple, rows_found[names].to_numpy())) == set(map(tuple, sql[names].to_numpy()))
    assert len(figures(frames, spec)["search"].data[0].y) == min(len(sql), 20)
    nothing = figures(frames, ReaderSpec(token="no such token", alike=False))["search"]
    assert "0 directions have it; no bar to draw" in nothing.layout.meta["notes"][0]


def test_alike_tokens_differ_in_capitals_and_spaces_only(tiny: Model) -> None:
    words = read(tiny)["words"]
    words.loc[:2, "token"] = [" Dog", "dog", "DOGS"]
    words.loc[:2, "rank"] = 1
    assert set(found(words, ReaderSpec(token="dog"))["token"]) == {" Dog", "dog"}
    assert set(found(words, ReaderSpec(token="dog", alike=False))["token"]) == {"dog"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"directions": ["gate"]}, "direction of this model's neurons 'gate'"),
        ({"look_in": "gate"}, "the directions that are read are out, in"),
        ({"layers": [7]}, "layer"),
        ({"token": "two words of text"}, "one token is needed"),
    ],
)  # fmt: skip
def test_bad_options_are_named(models_folder: Path, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _check(load("toy:gpt2", models_folder), PROMPT, ReaderSpec.model_validate(options))


def test_a_model_of_another_architecture_is_refused(tiny: Model, models_folder: Path) -> None:
    with pytest.raises(InputError, match=r"one architecture; .*differ in n_layers 3 against 2"):
        read(tiny, load("toy:qwen3", models_folder))
