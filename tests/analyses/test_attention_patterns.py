"""Attention patterns: the weights are the model's, and the numbers of a head are what patterns made by hand say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analyses import _attention
from analyses._attention import describe
from analyses._contract import Context, Frames, Inputs
from analyses.attention_patterns import ANALYSIS, PatternSpec, run
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site

PROMPT = "When John and Mary went to the store"


def frames(model: Model, prompt: str = PROMPT, **spec: object) -> Frames:
    return ANALYSIS.conform(run(model, Inputs(prompt=prompt), PatternSpec.model_validate(spec), Context()))


def test_heads_made_by_hand() -> None:
    """Four heads over four tokens: the sink, the token before, the token itself, everything alike."""
    sink, before, itself = torch.zeros(4, 4), torch.eye(4).roll(-1, 1), torch.eye(4)
    sink[:, 0] = 1
    before[0] = torch.tensor([1.0, 0, 0, 0])
    before[1:] = torch.eye(4)[:3]
    alike = torch.ones(4, 4).tril() / torch.arange(1, 5)[:, None]
    found = describe(torch.stack([sink, before, itself, alike]), 7, [0, 0, 1, 1])
    assert list(found["layer"]) == [7, 7, 7, 7]
    assert list(found["key_value_head"]) == [0, 0, 1, 1]
    np.testing.assert_allclose(found["entropy"], [0, 0, 0, (math.log(2) + math.log(3) + math.log(4)) / 3], atol=1e-7)
    np.testing.assert_allclose(found["sink_mass"], [1, 1 / 3, 0, (1 / 2 + 1 / 3 + 1 / 4) / 3], atol=1e-7)
    np.testing.assert_allclose(found["mean_distance"], [2, 1, 0, (0.5 + 1 + 1.5) / 3], atol=1e-7)
    np.testing.assert_allclose(found["previous_token"], [1 / 3, 1, 0, (1 / 2 + 1 / 3 + 1 / 4) / 3], atol=1e-7)
    np.testing.assert_allclose(found["self_token"], [0, 0, 1, (1 / 2 + 1 / 3 + 1 / 4) / 3], atol=1e-7)


def test_weights_are_the_models(any_tiny: Model) -> None:
    table = frames(any_tiny)["patterns"]
    tokens = any_tiny.tokens(PROMPT)
    geometry, length = any_tiny.geometry, tokens.shape[1]
    assert len(table) == geometry.n_layers * geometry.n_heads * length * (length + 1) // 2
    assert not table.duplicated(["layer", "head", "destination", "source"]).any()
    assert (table["source"] <= table["destination"]).all()
    np.testing.assert_allclose(table.groupby(["layer", "head", "destination"])["weight"].sum(), 1, atol=1e-5)
    for layer in range(geometry.n_layers):
        pattern = run_with_cache(any_tiny, tokens, [Site(layer, "pattern")])[Site(layer, "pattern")][0]
        here = table[table["layer"] == layer]
        wanted = pattern.numpy()[here["head"], here["destination"], here["source"]]
        np.testing.assert_allclose(here["weight"], wanted, atol=1e-6)


def test_chosen_layers_are_a_part_of_all(tiny: Model) -> None:
    whole, part = frames(tiny), frames(tiny, layers=[2, 0])
    assert list(part["heads"]["layer"].unique()) == [0, 2]
    kept = whole["patterns"][whole["patterns"]["layer"].isin([0, 2])]
    np.testing.assert_allclose(part["patterns"]["weight"], kept["weight"], atol=1e-6)


def test_key_value_heads_are_named(tiny: Model) -> None:
    heads = frames(tiny, layers=[0])["heads"]
    assert list(heads["key_value_head"]) == [0, 0, 1, 1]
    drawn = ANALYSIS.figures(frames(tiny), PatternSpec(layer=1, head=3))
    assert drawn["head"].layout.meta["title"] == "Attention of L1H3 (key/value head 1)"


def test_figures_mask_what_is_never_seen(tiny: Model) -> None:
    drawn = ANALYSIS.figures(frames(tiny), PatternSpec(layer=1, head=2, statistic="entropy"))
    assert list(drawn) == ["layer", "head", "overview"]
    assert [trace.name for trace in drawn["layer"].data] == ["L1H0", "L1H1", "L1H2", "L1H3"]
    square = drawn["head"].data[0].z
    for destination, weights in enumerate(square):
        assert all(weight is not None for weight in weights[: destination + 1])
        assert all(weight is None for weight in weights[destination + 1 :])
    assert drawn["head"].layout.yaxis.range[0] > drawn["head"].layout.yaxis.range[1], "the first token is on top"


def test_one_token_has_no_head_numbers_but_draws(tiny: Model) -> None:
    found = frames(tiny, "John")
    assert found["patterns"]["weight"].tolist() == [1.0] * len(found["patterns"])
    assert found["heads"][["entropy", "sink_mass", "previous_token"]].isna().all().all()
    ANALYSIS.figures(found, PatternSpec())


def test_refuses_layers_and_heads_that_are_not_there(tiny: Model) -> None:
    with pytest.raises(InputError, match="layer 3 does not exist: valid layers are 0 to 2"):
        frames(tiny, layers=[3])
    found = frames(tiny, layers=[1])
    with pytest.raises(InputError, match="layer 0 was not read; read: 1"):
        ANALYSIS.figures(found, PatternSpec(layer=0))
    with pytest.raises(InputError, match="head 4 of layer 1 does not exist: valid heads are 0 to 3"):
        ANALYSIS.figures(found, PatternSpec(head=4))


def test_refuses_long_prompts_and_large_tables(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_attention, "MAX_WEIGHTS", 4 * 36 * 2)
    assert len(tiny.encode(PROMPT)) == 8
    with pytest.raises(InputError, match="choose at most 2 layers"):
        frames(tiny)
    frames(tiny, layers=[0, 1])
    monkeypatch.setattr(_attention, "MAX_TOKENS", 7)
    with pytest.raises(InputError, match=r"the prompt has 8 tokens; .* at most 7.* tokens × tokens"):
        frames(tiny)


@pytest.mark.real
def test_name_mover_looks_at_a_name(real: Model) -> None:
    """The head with the largest direct effect on the IOI prompt looks from the last token at a name."""
    found = frames(real, "When John and Mary went to the store, John gave a drink to", layers=[23])
    table, tokens = found["patterns"], found["tokens"].set_index("position")["token"]
    last = table[(table["head"] == 3) & (table["destination"] == 13)]
    assert tokens[last.loc[last["weight"].idxmax(), "source"]] in (" John", " Mary")
