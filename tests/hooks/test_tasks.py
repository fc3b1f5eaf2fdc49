"""Tasks refuse what is incomplete; a part of a prompt is found among its tokens, or refused in one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from hooks.errors import InputError, about
from hooks.model import Model
from hooks.spans import in_order, token_ranges
from hooks.tasks import Related, TaskPrompt, locate
from tests.data.words import Words

PROMPT = "The capital of the country where Kyoto is located is"
TASK = TaskPrompt(
    PROMPT,
    ("Tokyo", "Tōkyō"),
    (("first_hop", "the country where Kyoto is located"), ("subject", "Kyoto")),
    (Related("first_hop", "The country where Kyoto is located is", ("Japan", "Nippon")),),
    "city/capital",
    "city",
)


def spelled(model: Any, prompt: str, places: Sequence[int]) -> str:
    return "".join(model.str_tokens([model.encode(prompt)[place] for place in places]))


def test_a_task_goes_through_json_unchanged_and_gives_its_parts() -> None:
    assert TaskPrompt.from_dict(TASK.as_dict()) == TASK
    plain = TaskPrompt("x y", ("z",))
    assert plain.as_dict() == {"text": "x y", "answers": ["z"]}
    assert TaskPrompt.from_dict({"text": "x y", "answers": "z"}) == plain
    assert (TASK.gold, TASK.span("subject"), TASK.side("first_hop").answers[0]) == ("Tokyo", "Kyoto", "Japan")
    with pytest.raises(InputError, match=r"unknown span 'object'.*first_hop, subject"):
        TASK.span("object")
    with pytest.raises(InputError, match="unknown related question 'second'"):
        TASK.side("second")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"text": "", "answers": ["a"]}, "missing or empty: text"),
        ({"text": "x"}, "missing or empty: answers"),
        ({"text": "x", "answers": [""]}, "the task has an empty answer"),
        ({"text": "x", "answers": [1]}, "answers must be a text or a list of texts"),
        ({"text": 1, "answers": ["a"]}, "text must be text, got int"),
        ({"text": "x", "answer": "a"}, "unknown field 'answer': did you mean 'answers'"),
        ({"text": "x", "answers": ["a"], "spans": ["x"]}, "spans must be an object"),
        ({"text": "x", "answers": ["a"], "spans": {"subject": "y"}}, "'y' is not in the prompt 'x'"),
        ({"text": "x", "answers": ["a"], "spans": {"subject": " "}}, "a span needs a role and some text"),
        ({"text": "x", "answers": ["a"], "related": ["y"]}, "related must be a list of objects"),
        ({"text": "x", "answers": ["a"], "related": [{"name": "n", "text": "y"}]}, "missing or empty: answers"),
        (
            {"text": "x", "answers": ["a"], "related": 2 * [{"name": "n", "text": "y", "answers": ["b"]}]},
            "related question 'n' is given twice",
        ),
    ],
)
def test_what_is_incomplete_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        TaskPrompt.from_dict(given)


def test_a_role_is_given_once() -> None:
    with pytest.raises(InputError, match="span 'a' is given twice"):
        TaskPrompt("x y", ("z",), (("a", "x"), ("a", "y")))


@pytest.mark.parametrize("part", [*(part for _, part in TASK.spans), "The capital", " Kyoto", "located is", PROMPT])
def test_the_tokens_of_a_part_spell_it_in_every_family(any_tiny: Model, part: str) -> None:
    places = locate(any_tiny, PROMPT, part)
    assert spelled(any_tiny, PROMPT, places).strip() == part.strip()
    assert list(places) == list(range(places[0], places[-1] + 1))


def test_only_first_and_last_of_several(tiny: Model) -> None:
    prompt = "the red book and the red hat"
    with pytest.raises(InputError, match=r"span 'red' occurs 2 times .* ask for the first or the last"):
        locate(tiny, prompt, "red")
    first, last = locate(tiny, prompt, "red", "first"), locate(tiny, prompt, "red", "last")
    assert first[0] < last[0]
    assert spelled(tiny, prompt, first) == spelled(tiny, prompt, last) == " red"


def test_a_word_is_not_looked_for_inside_others() -> None:
    model = Words()
    assert locate(model, "the other man said he came", "he") == (4,)
    assert locate(model, "Romania borders Oman", "Oman") == (2,)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("  ", "span '  ' is empty"),
        ("Osaka", "span 'Osaka' is not in the prompt 'The capital"),
        ("apital of", r"span 'apital of' cuts through token 1 \(' capital'\) of its tokens ' capital \|  of'"),
        ("where Kyo", r"cuts through token 6 \(' Kyoto'\) of its tokens ' where \|  Kyoto'"),
    ],
)
def test_what_cannot_be_found_is_one_line_with_span_and_tokens(part: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        locate(Words(), PROMPT, part)
    assert "\n" not in str(caught.value)


def without_offsets(model: Model) -> Any:
    """The same tokenizer, but one that cannot tell where its tokens lie."""
    bare = SimpleNamespace(decode=model.tokenizer.decode, is_fast=False)
    return SimpleNamespace(tokenizer=bare, encode=model.encode, str_tokens=model.str_tokens)


@pytest.mark.parametrize("prompt", [PROMPT, "Das Café 😀 in 東京 ist größer", "  two spaces\n\nand lines "])
def test_prefixes_give_the_offsets_of_the_tokenizer(tiny: Model, prompt: str) -> None:
    ids = tiny.encode(prompt)
    told = [prompt[first:last].strip() for first, last in token_ranges(tiny, prompt, ids)]
    assert [prompt[a:b].strip() for a, b in token_ranges(without_offsets(tiny), prompt, ids)] == told


def test_a_character_of_several_tokens_is_found_whole(tiny: Model) -> None:
    prompt = "see 東京 now"
    for model in (tiny, without_offsets(tiny)):
        places = locate(model, prompt, "東京")
        assert len(places) >= 6
        ids = [tiny.encode(prompt)[place] for place in places]
        assert tiny.tokenizer.decode(ids).strip() == "東京"


def test_tokens_that_do_not_spell_the_prompt_are_refused(tiny: Model) -> None:
    lower = SimpleNamespace(encode=lambda text: tiny.encode(text.lower()), str_tokens=tiny.str_tokens)
    with pytest.raises(InputError, match="the tokens of the prompt 'The red book' spell 'the red book'"):
        locate(lower, "The red book", "red")


@pytest.mark.real
def test_the_real_tokenizer(real: Model) -> None:
    for _, part in TASK.spans:
        assert spelled(real, PROMPT, locate(real, PROMPT, part)).strip() == part


def test_parts_are_found_one_after_the_other(tiny: Model) -> None:
    prompt = "the book. Mary went to the park! the book."
    assert in_order(tiny, prompt, ["the book", "the book"]) == [(0, 8), (33, 41)]
    assert in_order(tiny, prompt, ["Mary", " the book"]) == [(10, 14), (33, 41)]
    refused = {("Mary", "Mary"): "after .*Mary.*: give the spans in the prompt's order", (" ",): "is empty",
               ("house",): "is not in the prompt", ("Mar",): "cuts through"}  # fmt: skip
    for parts, words in refused.items():
        with pytest.raises(InputError, match=words):
            in_order(tiny, prompt, parts)


def test_an_error_says_once_what_it_is_about() -> None:
    for message in ("not there", "task 3: not there"):
        with pytest.raises(InputError) as caught, about("task 3"):
            raise InputError(message)
        assert str(caught.value) == "task 3: not there"
