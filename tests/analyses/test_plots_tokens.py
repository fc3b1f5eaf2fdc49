"""Tokens shown as glyphs, and labels that tell positions apart."""

import pytest

from analyses._plots import glyphs, token_hovers, token_labels
from analyses._plots.theme import escape, wrap


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Mary", "␣Mary"),
        ("    ", "␣␣␣␣"),
        ("\n\n", "⏎⏎"),
        ("\tx", "→x"),
        ("\x00", "␀"),
        ("\x1b[", "␛["),
        ("", "∅"),
        ("\ufffd", "\ufffd"),
        ("\udc80", "⟨80⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("日本", "日本"),
        ("<|im_start|>", "<|im_start|>"),
    ],
)
def test_every_token_is_visible(token: str, shown: str) -> None:
    assert glyphs(token) == shown


def test_labels_are_unique_though_tokens_repeat() -> None:
    labels = token_labels([" John", " John", ",", ","])
    assert labels == ["0 ␣John", "1 ␣John", "2 ,", "3 ,"]


def test_long_tokens_are_elided_on_the_axis_and_whole_in_the_hover() -> None:
    token = " internationalization"
    assert token_labels([token]) == ["0 ␣internatio…"]
    assert token_hovers([token], [77]) == ["position 0: ␣internationalization (id 77)"]


def test_a_token_that_is_no_whole_character_is_told_by_its_id() -> None:
    assert token_labels(["\ufffd", "a"], [200, 5]) == ["0 \ufffd #200", "1 a"]


def test_markup_and_control_characters_reach_plotly_as_text() -> None:
    assert escape("<b>&amp;\x07") == "&lt;b&gt;&amp;amp;\ufffd"


def test_a_long_word_is_broken_rather_than_cut_off() -> None:
    lines = wrap("x" * 100, 104, 10)
    assert "".join(lines) == "x" * 100
    assert max(map(len, lines)) == 20
