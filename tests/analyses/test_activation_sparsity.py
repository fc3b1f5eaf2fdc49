"""Activation sparsity: nothing lost at CETT 0, one order of ratios, targets hit, baselines as large, refusals.

More than 200 lines: levels, rules and the search, checked by hand, are parts of one run and share its texts.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analyses._activations import Text, halves_of, read_texts
from analyses._contract import Context, Inputs
from analyses.activation_sparsity import ANALYSIS, SparsitySpec, check, run
from analyses.activation_sparsity.computing import (
    Measured,
    above,
    at_random,
    fits,
    largest,
    measured,
    rise,
    rules_at,
    search,
)
from analyses.activation_sparsity.tables import THRESHOLDS
from analyses.activation_sparsity.thresholds import LEVELS, LayerFit
from hooks.errors import InputError
from hooks.interventions import Zero
from hooks.losses import next_token_log_probs
from hooks.model import Model
from hooks.progress import silent
from hooks.sites import Site

TEXTS = ("When John and Mary went to the store", "the red book on the table", "a cat sat on the mat there")


def fit(tokens: int = 12, neurons: int = 20, width: int = 8, seed: int = 0) -> LayerFit:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(tokens, neurons, generator=generator).exp()
    return LayerFit(values, torch.randn(neurons, width, generator=generator))


def test_cett_by_hand() -> None:
    """Neurons write along different axes, so the dropped sum's length is Pythagoras'."""
    one = LayerFit(torch.tensor([[3.0, -4.0, 12.0]]), torch.eye(3) * torch.tensor([1.0, 1.0, 2.0]))
    assert one.sizes.tolist() == [[3.0, 4.0, 24.0]]
    after_two = int((one.candidates <= 4).nonzero().max())
    assert one.cett(after_two) == pytest.approx(5 / math.sqrt(25 + 24**2))
    assert one.ratio(after_two) == pytest.approx(1 / 3)
    assert one.cett(0) == 0
    assert one.cett(LEVELS) == pytest.approx(1)


def test_the_level_found_is_where_cett_crosses_what_is_allowed() -> None:
    one = fit()
    for allowed in (0.02, 0.2, 0.7):
        level = one.level(allowed)
        assert one.cett(level) <= allowed < one.cett(level + 1)
    assert one.level(1.0) == LEVELS


def test_ratios_fall_as_cett_grows_even_where_cett_is_not_monotone() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(6, 4, generator=generator)
    # Each neuron has another that cancels it, so that dropping more can lose less.
    one = LayerFit(torch.rand(3, 12, generator=generator), torch.cat([rows, -rows]))
    cetts = [one.cett(level) for level in range(0, LEVELS + 1, LEVELS // 64)]
    assert min(np.diff(cetts)) < 0, "the case is one where CETT falls somewhere"
    levels = [one.level(allowed) for allowed in np.linspace(0, 1, 40)]
    assert levels == sorted(levels)
    ratios = [one.ratio(level) for level in levels]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > ratios[-1] == 0


def test_neurons_that_write_nothing_cost_nothing_and_are_dropped_at_zero() -> None:
    rows = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    rows[5:] = 0
    one = LayerFit(torch.ones(3, 10), rows)
    assert one.ratio(one.level(0.0)) == pytest.approx(0.5)


def test_a_token_without_output_has_nothing_to_lose() -> None:
    values = torch.ones(2, 3)
    values[1] = 0
    one = LayerFit(values, torch.eye(3))
    assert one.cett(LEVELS) == pytest.approx(0.5)


@pytest.mark.parametrize("allowed", [0.0, 1.0])
def test_no_loss_at_zero_and_a_silent_mlp_at_one(any_tiny: Model, allowed: float) -> None:
    texts = read_texts(any_tiny, Inputs(texts=TEXTS), 2, "")
    layers = range(any_tiny.geometry.n_layers)
    fitted = fits(any_tiny, texts, layers, 10_000, 0, silent)
    found = measured(any_tiny, texts, rules_at(fitted, allowed, any_tiny.device, silent), silent)
    edits = [Zero(Site(layer, "mlp_post")) for layer in layers] if allowed else []
    for total, text in zip(found.totals, texts, strict=True):
        wanted = -next_token_log_probs(any_tiny, text.ids, edits)[0].double().sum()
        assert total == pytest.approx(float(wanted), rel=1e-6)
    assert (found.kept == 0).all() if allowed else (found.kept > 0.9).all()


def test_rules_by_hand() -> None:
    values = torch.tensor([[[1.0, -3.0, 2.0, 0.5]]])
    assert above(2.0, torch.tensor([4.0, 0.5, 1.0, 10.0]))(values).tolist() == [[[True, False, False, True]]]
    assert largest(2)(values).tolist() == [[[False, True, True, False]]]
    assert not largest(0)(values).any()
    drawn = at_random(3, torch.Generator().manual_seed(0))(torch.ones(1, 50, 8))
    assert (drawn.sum(dim=-1) == 3).all()
    assert len({tuple(row.tolist()) for row in drawn[0]}) > 10, "drawn anew for every token"


def test_the_rise_is_that_of_perplexity() -> None:
    dense = Measured(np.array([4.0, 6.0]), np.array([2.0, 3.0]), np.ones((2, 1)))
    sparse = Measured(np.array([5.0, 6.0]), np.array([2.0, 3.0]), np.ones((2, 1)))
    assert dense.loss == pytest.approx(2.0)
    assert rise(sparse, dense) == pytest.approx(100 * (math.exp(2.2) / math.exp(2.0) - 1))


def test_the_search_hits_its_target() -> None:
    asked: list[float] = []

    def cost(level: float) -> float:
        asked.append(level)
        return 400 * level**2

    found = search(cost, {0.1: 4.0, 0.02: 0.16}, 1.0, 0.01, 20)
    assert found.reached
    assert found.rise == pytest.approx(1.0, abs=0.01)
    assert found.allowed == pytest.approx(0.05, abs=0.001)
    assert all(0.02 < level < 0.1 for level in asked), "known levels bound the search"


def test_a_search_that_does_not_hit_says_so() -> None:
    never = search(lambda _level: 0.3, {0.5: 0.2}, 1.0, 0.01, 5)
    assert (never.allowed, never.rise, never.reached) == (1.0, 0.3, False)
    short = search(lambda level: 400 * level**2, {0.1: 4.0}, 1.0, 0.001, 2)
    assert (short.allowed, short.reached) == (0.05, True)
    shorter = search(lambda level: 400 * level**2, {0.1: 4.0}, 1.2, 0.001, 2)
    assert (shorter.allowed, shorter.reached) == (0.05, False)
    assert search(lambda level: 400 * level**2, {0.1: 4.0}, 1.0, 0.001, 0).allowed == 0.0


def test_thresholds_never_see_the_texts_held_out(tiny: Model) -> None:
    spec = SparsitySpec(levels=(0.3,), most_steps=2, tokens=8, increase=50.0)
    labels = ("a", "b", "a", "b")
    first = run(tiny, Inputs(texts=(*TEXTS, "the dog ran"), labels=labels), spec, Context())
    texts = first["texts"].set_index("text")
    assert texts["part"].tolist() == ["thresholds", "thresholds", "held out", "held out"]
    changed = (*TEXTS[:2], "Anna gave the book", "to a store in")
    other = run(tiny, Inputs(texts=changed, labels=labels), spec, Context())
    assert other["layers"]["threshold"].tolist() == first["layers"]["threshold"].tolist()
    assert other["verdict"]["cett"].tolist() == first["verdict"]["cett"].tolist()
    assert other["verdict"]["rise"].tolist() != first["verdict"]["rise"].tolist()


def test_halves_have_every_label() -> None:
    texts = labelled(["a", "a", "b", "a", "b", "c"])
    fitted, held_out = halves_of(texts)
    assert [text.label for text in fitted] == ["a", "b", "a", "c"]
    assert [text.label for text in held_out] == ["a", "b"]
    assert [len(half) for half in halves_of(labelled(["a", "b", "c"]))] == [2, 1]


def test_halves_tear_no_group_apart() -> None:
    fitted, held_out = halves_of(labelled([""] * 5), ("one", "one", "other", "", "one"))
    assert [text.number for text in fitted] == [0, 1, 4, 3]
    assert [text.number for text in held_out] == [2]
    with pytest.raises(InputError, match="1 group of texts is too few"):
        halves_of(labelled(["", ""]), ("one", "one"))


def labelled(labels: list[str]) -> list[Text]:
    return [Text(number, torch.zeros(1, 3, dtype=torch.long), "", label) for number, label in enumerate(labels)]


def test_arms_have_as_many_neurons_and_the_curve_begins_at_nothing(tiny: Model) -> None:
    frames = run(tiny, Inputs(texts=TEXTS), SparsitySpec(levels=(0.2, 0.5), most_steps=1, tokens=64), Context())
    arms = frames["arms"].set_index("arm")
    assert arms.loc["dense", "change"] == 0
    others = arms.drop("dense")["ratio"]
    assert others.max() - others.min() <= 0.5 / tiny.geometry.d_mlp
    curve = frames["curve"]
    assert curve["cett"].tolist() == [0, 0.2, 0.5]
    assert curve["ratio"].is_monotonic_decreasing
    assert curve["fitted_rise"].iloc[0] == 0
    level = frames["layers"]
    assert (level["cett"] <= frames["verdict"]["cett"].iloc[0] + 1e-12).all()
    assert arms.loc[THRESHOLDS, "rise"] == pytest.approx(frames["verdict"]["rise"].iloc[0])


def test_the_target_is_hit_on_the_default_model(real: Model) -> None:
    spec = SparsitySpec(layers=(29,), increase=5.0, tolerance=1.5, levels=(0.5,), most_steps=6, tokens=32)
    texts = ("The river carries sand down to the sea, and the coast moves with it every year.",
             "Bread dough rises because yeast breathes.")  # fmt: skip
    frames = run(real, Inputs(texts=texts), spec, Context())
    row = frames["verdict"].iloc[0]
    assert row["reached"]
    assert row["fitted_rise"] == pytest.approx(5.0, abs=1.5)
    text = frames["texts"].set_index("part").loc["thresholds"].to_dict()
    assert 100 * math.expm1(text["sparse"] - text["dense"]) == pytest.approx(row["fitted_rise"])
    assert 0 < row["ratio"] < 0.9
    arms = frames["arms"].set_index("arm")["change"]
    assert arms["random neurons"] > arms[THRESHOLDS]


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        (TEXTS[:1], {}, "1 text is too few"),
        ((*TEXTS, "a"), {}, "text 3, 'a', has 1 token"),
        (TEXTS, {"layers": (3,)}, "layer"),
        (TEXTS, {"levels": (0.1, 1.5)}, "option levels = 1.5"),
    ],
)
def test_bad_input_is_refused(tiny: Model, texts: tuple[str, ...], options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(tiny, Inputs(texts=texts), SparsitySpec.model_validate(options))


def test_figures_say_both_halves(tiny: Model) -> None:
    spec = SparsitySpec(levels=(0.4,), most_steps=1, tokens=16)
    drawn = ANALYSIS.figures(run(tiny, Inputs(texts=TEXTS), spec, Context()), spec)
    assert tuple(drawn) == ("layers", "ratio", "perplexity", "baselines")
    assert "Thresholds from 2 texts" in drawn["perplexity"].layout.meta["notes"][0]
    assert "1 held-out text" in drawn["layers"].layout.meta["notes"][0]
