"""The attention editor: that it edits what it says, on other prompts than those its heads were chosen on."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

from analyses._contract import Context, Frames, Inputs
from analyses.attention_editor import ANALYSIS, EditorSpec
from analyses.attention_editor.computing import (
    PLAIN,
    RANDOM,
    TOGETHER,
    Margin,
    alone_frame,
    choose,
    edits,
    heads_of,
    questions_of,
    values_of,
)
from data.prompt_sets import generate
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import ReplacePattern
from hooks.model import Model
from hooks.pairs import PromptPair
from hooks.sites import Site

PAIR = PromptPair(
    "When John and Mary went to the store, John gave a drink to",
    "When John and Mary went to the store, Mary gave a drink to",
    " Mary",
    " John",
)
ONE = Inputs(pairs=(PAIR,))


def colours(model: Model, limit: int) -> Inputs:
    return Inputs(pairs=tuple(one.pair for one in generate("colored_objects", model, limit=limit).aligned))


def frames_of(model: Model, inputs: Inputs, **spec: Any) -> Frames:
    return ANALYSIS.conform(ANALYSIS.run(model, inputs, EditorSpec(**spec), Context()))


def test_the_edit_equals_a_pattern_set_by_hand(any_tiny: Model) -> None:
    """Heads of every layer at once: half and half on the keys, against a full forward with that pattern put in."""
    one = questions_of(any_tiny, ONE, "others", "")[0]
    one = type(one)(**{**vars(one), "keys": (1, 3)})
    heads = [(layer, head) for layer in range(any_tiny.geometry.n_layers) for head in (0, 3)]
    last = len(one.ids) - 1
    row = torch.zeros(1, last + 1)
    row[0, [1, 3]] = 0.5
    by_hand = [ReplacePattern(Site(layer, "pattern", head, last), row) for layer, head in heads]
    made = edits(any_tiny, values_of(any_tiny, one, range(any_tiny.geometry.n_layers)), one, heads)
    ids = torch.tensor([one.ids])
    found, wanted, plain = (
        run_with_cache(any_tiny, ids, (), list(these)).logits[0, -1] for these in (made, by_hand, [])
    )
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_candidates_are_found_at_their_last_place_behind_the_text(real: Model) -> None:
    """Two wrong colours of the second scene, whatever the worked example shows; their capital forms are the rivals."""
    inputs = colours(real, 30)
    for one, pair in zip(questions_of(real, inputs, "others", "Q:"), inputs.pairs, strict=True):
        scene = pair.clean.rpartition("Q:")[2]
        seen = [real.str_tokens([one.ids[place]])[0].strip() for place in one.keys]
        assert len(seen) == 2
        assert all(f" {word} " in scene for word in seen)
        assert pair.answer.strip().lower() not in seen
        assert {text.strip().lower() for text in real.str_tokens(list(one.rivals))} == set(seen)
        start = len(real.encode(pair.clean[: len(pair.clean) - len(scene)]))
        assert min(one.keys) >= start
    for one, pair in zip(questions_of(real, inputs, "answer", "Q:"), inputs.pairs, strict=True):
        assert [text.strip() for text in real.str_tokens([one.ids[at] for at in one.keys])] == [
            pair.answer.strip().lower()
        ]


def test_any_token_can_be_looked_at_by_its_text(tiny: Model) -> None:
    one = questions_of(tiny, ONE, "john", "")[0]
    assert [tiny.str_tokens([one.ids[place]])[0].strip() for place in one.keys] == ["John", "John"]
    assert questions_of(tiny, ONE, "John", "store")[0].keys == one.keys[1:]


def test_the_margin_is_to_the_best_other_candidate() -> None:
    logits = torch.tensor([[1.0, 5.0, 4.0, 9.0]])
    assert Margin("margin", "logits", 1, (0, 2))(logits).tolist() == [1.0]


def test_heads_are_chosen_on_the_other_half_and_controls_share_their_layers(tiny: Model) -> None:
    inputs = Inputs(pairs=tuple(one.pair for one in generate("ioi", tiny, limit=8, seed=1).aligned))
    questions = questions_of(tiny, inputs, "others", "")
    rows = [(one.number, layer, head, 0.0) for one in questions for layer in range(3) for head in range(4)]
    alone = pd.DataFrame(rows, columns=["prompt", "layer", "head", "change"])
    choice = choose(tiny, alone, questions, [], 1, 4, 0)
    half = alone["prompt"].map(choice.half)
    # Each half has a head of its own: what is tried in a half is the other's.
    alone.loc[(half == 0) & (alone["layer"] == 1) & (alone["head"] == 2), "change"] = 1.0
    alone.loc[(half == 1) & (alone["layer"] == 2) & (alone["head"] == 3), "change"] = 1.0
    choice = choose(tiny, alone, questions, [], 1, 4, 0)
    assert choice.chosen == ([(2, 3)], [(1, 2)])
    assert all(head[0][0] == 2 and head != [(2, 3)] for head in choice.others[0])
    assert len(choice.others[0]) == 4


def test_arms_are_the_runs_that_they_name(tiny: Model) -> None:
    frames = frames_of(tiny, ONE, heads=("L1H2", "L2H0"), random_sets=2)
    one = questions_of(tiny, ONE, "others", "")[0]
    made = edits(tiny, values_of(tiny, one, (1, 2)), one, [(1, 2), (2, 0)])
    for arm, these in ((PLAIN, []), (TOGETHER, list(made))):
        logits = run_with_cache(tiny, torch.tensor([one.ids]), (), these).logits[0, -1]
        margin = float(logits[one.answer] - logits[list(one.rivals)].max())
        rows = frames["arms"].set_index(["arm", "measure"])["mean"]
        assert rows[arm, "margin"] == pytest.approx(margin, abs=1e-4)
        assert rows[arm, "answer beats the other candidates"] == float(margin > 0)
    changes = frames["changes"].set_index(["arm", "against", "measure"])["mean"]
    means = frames["arms"].set_index(["arm", "measure"])["mean"]
    for arm, against in ((TOGETHER, PLAIN), (RANDOM, PLAIN), (TOGETHER, RANDOM)):
        for measure in means.index.get_level_values("measure").unique():
            difference = means[arm, measure] - means[against, measure]
            assert changes[arm, against, measure] == pytest.approx(difference, abs=1e-9)


def test_one_head_alone_is_its_run_against_the_prompt_as_it_is(tiny: Model) -> None:
    one = questions_of(tiny, ONE, "others", "")[0]
    found = alone_frame(tiny, one, [1], lambda *_: None).set_index(["layer", "head"])["change"]
    values = values_of(tiny, one, [1])
    margin = Margin("margin", "logits", one.answer, one.rivals)
    plain = margin(run_with_cache(tiny, torch.tensor([one.ids]), (), ()).logits[:, -1])
    for head in range(4):
        edited = run_with_cache(tiny, torch.tensor([one.ids]), (), edits(tiny, values, one, [(1, head)])).logits[:, -1]
        assert found[1, head] == pytest.approx(float(margin(edited) - plain), abs=1e-4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"heads": ("9.6",)}, "L0H0 to L2H3"),
        ({"heads": ("L3H0",)}, "L0H0 to L2H3"),
        ({"heads": ("L0H0",), "layers": (1,)}, "not among those edited, 1"),
        ({"after": "nowhere"}, "does not have this text"),
        ({}, "give two, or name --heads"),
        ({"heads": ("L0H0",), "after": "gave"}, "candidates are john, mary"),
        ({"heads": ("L0H0",), "look_at": "bank"}, "no token 'bank' before its last token"),
        ({"top_heads": 7}, "leave no control"),
    ],
)
def test_what_cannot_be_edited_is_told_early(tiny: Model, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ANALYSIS.check(tiny, ONE, EditorSpec(**spec))


def test_heads_by_name(tiny: Model) -> None:
    assert heads_of(tiny, ("L2H3", "L0H0", "L2H3")) == [(2, 3), (0, 0)]
