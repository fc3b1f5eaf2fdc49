"""What each set promises of its pairs: the answer is right for the clean prompt, and only the promised words change."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from data.prompt_sets import generate
from data.sets import gendered_occupation
from data.sets._facts import relations
from hooks.errors import InputError
from hooks.pairs import PromptPair
from tests.data.words import Words


def pairs(name: str, limit: int = 120, digits: int = 1) -> tuple[PromptPair, ...]:
    return generate(name, Words(digits), limit=limit).pairs


def changed(pair: PromptPair) -> list[tuple[str, str]]:
    """The words in which clean and corrupted differ."""
    clean, corrupted = (re.findall(r"\w+", text) for text in (pair.clean, pair.corrupted))
    return [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b]


def test_ioi_swaps_the_second_subject_only() -> None:
    made = pairs("ioi")
    for pair in made:
        receiver, giver = pair.answer.strip(), pair.distractor.strip()
        assert changed(pair) == [(giver, receiver)]
        assert (pair.clean.count(receiver), pair.clean.count(giver)) == (1, 2)
        first = "ABBA" if pair.clean.index(receiver) < pair.clean.index(giver) else "BABA"
        assert pair.label == first
    assert Counter(pair.label for pair in made) == {"ABBA": 60, "BABA": 60}


@pytest.mark.parametrize(("digits", "ending", "shape"), [(1, 2, 1), (2, 2, 2), (3, 0, 3), (4, 0, 4)])
def test_greater_than_stops_where_the_end_years_part(digits: int, ending: int, shape: int) -> None:
    for pair in pairs("greater_than", digits=digits):
        start, earlier_start = (int(re.findall(r"\d{4}", text)[0]) for text in (pair.clean, pair.corrupted))
        written = re.search(r"(\d*)$", pair.clean)
        assert written is not None
        assert len(written.group(1)) == ending
        assert len(pair.answer) == len(pair.distractor) == shape
        scale = 10 ** (4 - ending - shape)
        right, wrong = (int(written.group(1) + text) for text in (pair.answer, pair.distractor))
        assert earlier_start // scale < wrong < start // scale < right
        assert start // 100 == earlier_start // 100
        assert right * scale // 100 == start // 100


def test_greater_than_refuses_a_tokenizer_without_a_boundary() -> None:
    class Merged(Words):
        def encode(self, text: str) -> list[int]:
            joined = super().encode(text)
            return [*joined, 10**6] if text[-1].isdigit() else joined

    with pytest.raises(InputError, match="no token boundary where the two end years part"):
        generate("greater_than", Merged(), limit=3)


def test_factual_recall_has_facts_enough_and_every_pair_is_made_of_two() -> None:
    known = {relation.name: relation for relation in relations()}
    assert len(known) >= 6
    assert sum(len(relation.facts) for relation in known.values()) >= 150
    made = pairs("factual_recall", limit=300)
    assert {pair.label for pair in made} == set(known)
    for pair in made:
        relation = known[pair.label]
        told = {(text.format(subject=s), f" {o}") for text in relation.templates for s, o in relation.facts}
        assert (pair.clean, pair.answer) in told
        assert (pair.corrupted, pair.distractor) in told
        assert pair.answer != pair.distractor


def test_no_subject_has_two_objects_in_one_relation() -> None:
    for relation in relations():
        subjects = [subject for subject, _ in relation.facts]
        assert len(subjects) == len(set(subjects)), relation.name
        assert all(text.strip() == text and text for fact in relation.facts for text in fact), relation.name


def test_gendered_occupation_swaps_either_the_name_or_the_occupation() -> None:
    women = {"name": gendered_occupation.WOMEN, "occupation": gendered_occupation.MOSTLY_WOMEN}
    men = {"name": gendered_occupation.MEN, "occupation": gendered_occupation.MOSTLY_MEN}
    made = pairs("gendered_occupation")
    for pair in made:
        [(clean, corrupted)] = changed(pair)
        she, he = (clean, corrupted) if pair.answer == " she" else (corrupted, clean)
        assert she in women[pair.label]
        assert he in men[pair.label]
        assert {pair.answer, pair.distractor} == {" she", " he"}
    assert {pair.label for pair in made} == {"name", "occupation"}
    assert {pair.answer for pair in made} == {" she", " he"}


def test_induction_answers_with_what_followed_before() -> None:
    for pair in pairs("induction"):
        for text, right in ((pair.clean, pair.answer), (pair.corrupted, pair.distractor)):
            *shown, last = text.split()
            assert text.split().count(last) == 2
            assert shown[shown.index(last) + 1] == right.strip()
        assert changed(pair) == [(pair.answer.strip(), pair.distractor.strip())]
        assert pair.distractor.strip() not in pair.clean.split()


def test_colored_objects_changes_only_the_object_asked_about() -> None:
    made = pairs("colored_objects")
    for pair in made:
        for text, right in ((pair.clean, pair.answer), (pair.corrupted, pair.distractor)):
            example, question = text.split("\nQ: ")
            asked = re.findall(r"What color is the (\w+)", question)
            assert re.findall(rf"an? (\w+) {asked[0]}\b", question) == [right.strip().lower()]
            shown = re.findall(r"What color is the (\w+)\?\nA: (\w+)", example)
            assert re.findall(rf"an? (\w+) {shown[0][0]}\b", example) == [shown[0][1].lower()]
        assert len(changed(pair)) == 1
        assert pair.clean.endswith("?\nA:")
    assert {pair.label for pair in made} == {"asked first", "asked second", "asked third"}
