"""Text on pages: Markdown cannot act on it, HTML cannot break out, tokens stand under each other."""

from __future__ import annotations

import re

import pytest

from app_pages._text import chip, plain, stacked, token_row


@pytest.mark.parametrize("text", ["*a*", "`x`", "[a](b)", "$5", ":red[x]", "a_b_c", "# a", "<b>", "1~2~", "\\"])
def test_plain_text_has_every_sign_escaped(text: str) -> None:
    assert re.sub(r"\\(.)", r"\1", plain(text)) == text
    assert not re.search(r"(?<!\\)(?:\\\\)*[*`\[\]$:_#<>~]", plain(text))


def test_chip_shows_glyphs_and_never_markup() -> None:
    drawn = chip(" <b>\n", "3·17", "differs")
    assert "␣&lt;b&gt;⏎" in drawn
    assert 'class="token differs"' in drawn


def test_row_marks_positions() -> None:
    drawn = token_row(["a", "b"], [1, 2], {1: "wrong"})
    assert drawn.count('class="token wrong"') == 1
    assert drawn.index("0·1") < drawn.index("1·2")


def test_stack_puts_position_under_position_and_shows_what_is_missing() -> None:
    drawn = stacked(("clean", "corrupted"), ([("a", 1), ("b", 2)], [("a", 1)]), ({1: "wrong"}, {}))
    columns = drawn.split("<div class=stack>")[1:]
    assert len(columns) == 3
    assert columns[1].count("0·1") == 2
    assert "no token" in columns[2]
