"""A neuron's card: the reader's words, a clamped run by definition, controls that write as much."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses._contract import Context, Frames
from analyses.neuron_card import CardSpec, run
from analyses.neuron_card import _check as check_card
from analyses.neuron_card.computing import Chosen, promoter
from hooks.errors import InputError
from hooks.interventions import Clamp
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.test_neuron_reader import PROMPT, planted, read


def card(model: Model, **options: object) -> Frames:
    return run(model, PROMPT, CardSpec.model_validate({"new_tokens": 4} | options), Context())


def test_a_card_reads_the_same_words_as_the_reader(any_tiny: Model) -> None:
    mine, every = card(any_tiny, layer=1, neuron=9, most=3)["words"], read(any_tiny, layers=[1])["words"]
    theirs = every[every["neuron"] == 9]
    order = ["direction", "rank"]
    assert mine.sort_values(order)["token_id"].tolist() == theirs.sort_values(order)["token_id"].tolist()
    assert np.allclose(mine.sort_values(order)["z"], theirs.sort_values(order)["z"], atol=1e-4)


def test_holding_a_neuron_is_the_clamped_run(any_tiny: Model) -> None:
    frames = card(any_tiny, layer=0, neuron=3, values=[-1.5, 2.0], controls=2)
    ids, target = any_tiny.tokens(str(PROMPT.prompt)), int(frames["card"]["target_id"].iloc[0])
    norms, site = any_tiny.W_out(0).norm(dim=1), Site(0, "mlp_post")
    clamps = frames["clamps"]
    assert clamps["kind"].tolist() == ["unchanged", *(2 * ["neuron", "control", "control"])]
    for row in clamps.to_dict("records"):
        clamp = [] if row["kind"] == "unchanged" else [Clamp(site, row["value"], row["value"], int(row["held"]))]
        logits = any_tiny.logits(ids, clamp, last_only=True)[0, -1].log_softmax(-1)
        assert row["log_prob"] == pytest.approx(float(logits[target]), abs=1e-4)
        first = frames["said"].query("line == @row['line'] and step == 1")["token_id"].item()
        assert float(logits[first]) == pytest.approx(float(logits.max()), abs=1e-4)
        if row["kind"] == "control":
            value = clamps.query("share == @row['share'] and kind == 'neuron'")["value"].item()
            written = row["value"] * float(norms[row["held"]])
            assert written == pytest.approx(value * float(norms[3]), rel=1e-4)
            assert row["held"] != 3
    assert clamps["kl"].iloc[0] == pytest.approx(0.0, abs=1e-5)


def test_a_neuron_held_far_away_is_all_that_the_unembedding_sees(tiny: Model) -> None:
    token = int(tiny.W_U.norm(dim=0).argmax())
    with planted(tiny, 2, "out", 5, tiny.W_U[:, token]):
        frames = card(tiny, layer=2, neuron=5, values=[1e6], controls=1)
        alone = (tiny.final_norm(tiny.W_U[:, token] * 1e6) @ tiny.W_U).log_softmax(-1)
    assert frames["card"]["target_id"].tolist() == [token]
    held = frames["clamps"].query("kind == 'neuron'")
    assert held["log_prob"].item() == pytest.approx(float(alone[token]), abs=1e-3)
    assert set(frames["said"].query("line == @held['line'].item()")["token_id"]) == {int(alone.argmax())}


def test_without_a_number_the_neuron_that_writes_most_is_read(tiny: Model) -> None:
    every = read(tiny)["neurons"]
    best = every.loc[(every["last"].abs() * every["out_norm"]).idxmax()]
    row = card(tiny, values=[1.0])["card"].iloc[0]
    assert (row["layer"], row["neuron"]) == (best["layer"], best["neuron"])


def test_the_first_token_is_not_typical(tiny: Model) -> None:
    def typical(*residual: float) -> float:
        values = torch.tensor(residual)
        return Chosen(0, 0, 1.0, values, values, values).typical

    assert typical(100.0, 1.0, 4.0, 3.0, 90.0, 2.0) == 3.0
    assert typical(100.0, 1.0, 2.0) == 1.0
    assert typical(100.0) == 100.0
    frames = card(tiny, layer=1, neuron=9, values=[2.0], controls=1)
    residual = torch.tensor(frames["activations"]["residual"].tolist())
    assert frames["card"]["typical"].item() == pytest.approx(float(residual[1:].median()))


@pytest.mark.parametrize("norm", ["none", "final"])
def test_the_neuron_of_a_token_is_the_one_that_the_reader_finds(any_tiny: Model, norm: str) -> None:
    every = read(any_tiny, norm=norm, directions=["out"], most=2)["words"]
    best = every[every["rank"] == 1].sort_values("z").iloc[-1]
    token = int(best["token_id"])
    assert promoter(any_tiny, token, None, norm) == (best["layer"], best["neuron"])  # type: ignore[arg-type]
    other = 1 - min(int(best["layer"]), 1)
    here = every[(every["layer"] == other) & (every["rank"] == 1)].sort_values("z").iloc[-1]
    found = promoter(any_tiny, int(here["token_id"]), other, norm)  # type: ignore[arg-type]
    assert found == (other, here["neuron"])


def test_a_card_of_a_tokens_neuron_holds_it(tiny: Model) -> None:
    # Short, so that it is found by how far the token stands out and not by its product alone.
    with planted(tiny, 2, "out", 5, 0.01 * tiny.W_U[:, tiny.single_token(" store")]):
        frames = card(tiny, target=" store", pick="promotes_target", values=[5000.0], controls=1)
    assert frames["card"][["layer", "neuron", "target"]].iloc[0].tolist() == [2, 5, " store"]
    by_kind = frames["clamps"].set_index("kind")["log_prob"]
    assert by_kind["neuron"] > by_kind["unchanged"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"neuron": 3}, "of which layer"),
        ({"layer": 0, "neuron": 64}, "valid neurons of a layer are 0 to 63"),
        ({"layer": 3, "neuron": 1}, "layer"),
        ({"values": [float("inf")]}, "finite"),
        ({"target": "two words"}, "one token is needed"),
        ({"new_tokens": 200, "layer": 0}, None),
        ({"controls": 50, "layer": 0}, None),
        ({"pick": "promotes_target"}, "name the token"),
        ({"pick": "promotes_target", "target": "a", "layer": 0, "neuron": 3}, "neuron 3 is named already"),
    ],
)  # fmt: skip
def test_bad_options_of_a_card_are_named(tiny: Model, options: dict, said: str | None) -> None:
    spec = CardSpec.model_validate(options)
    if said is None:
        check_card(tiny, PROMPT, spec)
        return
    with pytest.raises(InputError, match=said):
        check_card(tiny, PROMPT, spec)
