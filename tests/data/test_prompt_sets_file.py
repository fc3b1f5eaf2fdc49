"""A user's own pairs: what is read, what is refused, and errors that name file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.prompt_sets import load_pairs_file
from hooks.errors import InputError
from tests.data.words import Words

GOOD = {"clean": "a b c", "corrupted": "a d c", "answer": " x", "distractor": " y"}


def written(folder: Path, *lines: object) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_pairs_are_read_with_and_without_label_over_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, "", {**GOOD, "answer": " ü", "label": "second"}, "  ")
    made = load_pairs_file(path, Words())
    assert made.name == "mine.jsonl"
    assert [(pair.answer, pair.label) for pair in made.pairs] == [(" x", ""), (" ü", "second")]
    assert made.refused == ()


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert len(load_pairs_file(str(path), Words()).pairs) == 1


def test_what_does_not_align_or_repeats_is_refused_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, {**GOOD, "corrupted": "a d"}, {**GOOD, "answer": " x z"}, GOOD)
    made = load_pairs_file(path, Words())
    assert len(made.pairs) == 1
    assert [one.kind for one in made.refused] == [
        "clean and corrupted differ in token count",
        "answer is not one token",
        "repeated pair",
    ]
    for number, one in enumerate(made.refused, start=2):
        assert one.reason.startswith(f"{path} line {number}: ")
    assert "1 of 4 pairs align; 3 refused" in made.summary


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["clean"]', "expected an object with clean, corrupted, answer, distractor, label, got list"),
        ({**GOOD, "anwser": " z"}, "unknown field 'anwser': did you mean 'answer'"),
        ({**GOOD, "answer": 3}, "answer must be text, got int"),
        ({**GOOD, "label": None}, "label must be text, got NoneType"),
        ({"clean": "a b", "corrupted": ""}, "missing or empty: corrupted, answer, distractor"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, said: str) -> None:
    path = written(tmp_path, GOOD, "", line)
    with pytest.raises(InputError) as error:
        load_pairs_file(path, Words())
    assert str(error.value).startswith(f"{path} line 3: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_aligned_names_file_reasons_and_first_line(tmp_path: Path) -> None:
    path = written(tmp_path, {**GOOD, "distractor": " x"}, {**GOOD, "corrupted": GOOD["clean"]})
    with pytest.raises(InputError) as error:
        load_pairs_file(path, Words())
    for said in ("nothing in mine.jsonl aligns", "1 × answer and distractor are the same token", "line 1"):
        assert said in str(error.value)
    assert "1 × clean and corrupted are the same prompt" in str(error.value)


def test_an_empty_a_missing_and_a_binary_file_are_named(tmp_path: Path) -> None:
    empty = written(tmp_path, "")
    with pytest.raises(InputError, match=r"nothing in mine\.jsonl aligns for this model: it holds no pairs"):
        load_pairs_file(empty, Words())
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.jsonl", tmp_path, binary):
        with pytest.raises(InputError, match="cannot be read as UTF-8 text") as error:
            load_pairs_file(path, Words())
        assert str(path) in str(error.value)
