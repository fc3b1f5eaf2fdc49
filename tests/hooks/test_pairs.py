"""Prompt pairs: what lines up is aligned, what does not is refused and shown where."""

from __future__ import annotations

import re

import pytest

from hooks.errors import InputError
from hooks.model import Model
from hooks.pairs import PromptPair, align

IOI = PromptPair(
    "When John and Mary went, John gave it to", "When John and Mary went, Mary gave it to", " Mary", " John"
)


def test_an_aligned_pair_knows_where_it_differs(any_tiny: Model) -> None:
    aligned = align(any_tiny, IOI)
    assert len(aligned.clean_ids) == len(aligned.corrupted_ids)
    (place,) = aligned.differing
    assert any_tiny.str_tokens(aligned.clean_ids)[place] == " John"
    assert any_tiny.str_tokens(aligned.corrupted_ids)[place] == " Mary"
    assert any_tiny.str_tokens([aligned.answer_id, aligned.distractor_id]) == [" Mary", " John"]


@pytest.mark.parametrize(
    ("clean", "corrupted", "says"),
    [
        ("When John went", "When John Mary went", "clean has 3 tokens and corrupted 4: they part at token 2"),
        ("When John", "When John went", "clean has 2 tokens and corrupted 3: they part at token 2"),
        ("John went", "When John went", "they part at token 0"),
    ],
)
def test_unequal_lengths_say_where_the_prompts_part(tiny: Model, clean: str, corrupted: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        align(tiny, PromptPair(clean, corrupted, " Mary", " John"))
    assert "went" in str(caught.value)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (PromptPair("", "When", " Mary", " John"), "the prompt is empty"),
        (PromptPair("When", "", " Mary", " John"), "the prompt is empty"),
        (PromptPair("When", "Then", " Mary John", " John"), "' Mary John' is 2 tokens"),
        (PromptPair("When", "Then", " Mary", ""), "empty"),
        (PromptPair("When", "Then", " Mary", " Mary"), "the same token; give two"),
        (PromptPair("When John", "When John", " Mary", " John"), "the same prompt"),
    ],
)
def test_a_pair_that_cannot_be_patched_is_refused(tiny: Model, pair: PromptPair, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        align(tiny, pair)
