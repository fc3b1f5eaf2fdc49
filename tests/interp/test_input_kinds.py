"""Every kind of input goes in through every door and comes out the same: options, batch, script, key, stored run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analyses._contract import Analysis, Inputs, Need
from hooks.errors import InputError
from hooks.model import Model
from hooks.tasks import Related, TaskPrompt
from interp.captures import read_prompts
from interp.input_kinds import ASKED, WAYS, in_words, way_of
from interp.inputs import Request
from interp.script import asked, command_line
from interp.workbench import Workbench
from tests.interp.lengths import Lengths, LengthSpec
from tests.pairs import OTHER, PAIR

TASK = TaskPrompt(
    "The capital of the country where Kyoto is located is",
    ("Tokyo", "Tōkyō"),
    (("subject", "Kyoto"),),
    (Related("first_hop", "The country where Kyoto is located is", ("Japan",)),),
    "city",
    "a",
)
DIRECT = {"prompt": TASK.text, "answer": "Tokyo", "alias": ["Tōkyō"], "span": ["subject=Kyoto"]}


def needing(*needs: Need) -> Analysis:
    return replace(Lengths().analysis, needs=needs)


def test_a_request_has_the_fields_of_the_table_and_no_other() -> None:
    assert set(Request.__dataclass_fields__) == set(ASKED)
    used = {name for way in WAYS.values() for name in (*way.fields, *way.extra)}
    assert used == set(ASKED)


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs(prompt="x"),
        Inputs(pairs=(PAIR, replace(OTHER, label="second")), set_name="ioi", note="2 of 2"),
        Inputs(tasks=(TASK, TaskPrompt("a b", ("c",)))),
        Inputs(texts=("one", "two"), set_name="mine.txt", labels=("a", ""), groups=("", "b")),
        Inputs(),
    ],
)
def test_inputs_go_through_json(inputs: Inputs) -> None:
    assert Inputs.from_dict(json.loads(json.dumps(inputs.as_dict()))) == inputs


def test_dictionaries_of_older_runs_are_read() -> None:
    pair = {side: getattr(PAIR, side) for side in ("clean", "corrupted", "answer", "distractor")}
    old = {"pairs": [pair], "set_name": "ioi", "note": "ioi: 1 of 1", "request": {"set": "ioi", "limit": 1, "seed": 0}}
    assert Inputs.from_dict(old) == Inputs(pairs=(PAIR,), set_name="ioi", note="ioi: 1 of 1")
    assert asked(old) == {"set": "ioi", "limit": 1, "seed": 0}
    assert asked({"pairs": [pair]}) == pair
    assert asked({"prompt": "x"}) == {"prompt": "x"}


@pytest.mark.parametrize(
    ("inputs", "kinds"),
    [
        (Inputs(), set()),
        (Inputs(prompt=""), {"prompt"}),
        (Inputs(pairs=(PAIR,)), {"pair"}),
        (Inputs(pairs=(PAIR,), set_name="ioi"), {"pair", "pairs"}),
        (Inputs(pairs=(PAIR, OTHER)), {"pairs"}),
        (Inputs(tasks=(TASK,)), {"tasks"}),
        (Inputs(texts=("x",)), {"texts"}),
    ],
)
def test_a_set_of_which_one_pair_aligned_is_still_a_set(inputs: Inputs, kinds: set[str]) -> None:
    assert inputs.kinds == kinds


@pytest.mark.parametrize(
    ("given", "needs", "way"),
    [
        ({}, (), None),
        ({"limit": 3, "seed": 1}, (), None),
        ({"prompt": ""}, (), "prompt"),
        ({"prompt": "x", "answer": "y"}, (), "task"),
        ({"prompt": "x"}, ("tasks",), "task"),
        ({"prompt": "x"}, ("prompt", "tasks"), "prompt"),
        ({"clean": "x", "answer": "y"}, (), "pair"),
        ({"answer": "y"}, (), "pair"),
        ({"answer": "y"}, ("tasks",), "task"),
        ({"span": ("a=b",)}, (), "task"),
        ({"set": "ioi", "limit": 3}, (), "set"),
    ],
)
def test_the_way_of_asking_is_told_by_the_fields(given: dict[str, Any], needs: tuple[Need, ...], way: str) -> None:
    assert way_of(given, needs) == way


@pytest.mark.parametrize(
    ("given", "needs", "named"),
    [
        ({"prompt": "x"}, ("tasks",), "a task needs --answer too"),
        ({"prompt": "x", "answer": ""}, ("tasks",), "the answer is empty: give some text"),
        ({"prompt": "x", "answer": "y"}, ("prompt",), r"\(--prompt\); --prompt with --answer, --alias"),
        ({"prompt": "x y", "answer": "z", "span": "y"}, ("tasks",), "span 'y': write ROLE=TEXT"),
        ({"prompt": "x", "answer": "y", "set": "ioi"}, ("tasks",), "task and set were given"),
        ({"set": "ioi"}, ("tasks",), "ioi is a set of pairs"),
        ({"file": "nothing.jsonl"}, ("texts",), "there is no such file"),
        ({"set": "ioi"}, ("texts",), "lengths needs texts"),
        ({"alias": 3}, ("tasks",), "input alias = 3 must be a text or a list of texts"),
    ],
)
def test_what_does_not_fit_is_refused_without_a_model(given: Any, needs: tuple[Need, ...], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Request.from_dict(given).check(needing(*needs))


def test_one_task_by_its_fields(tiny: Model) -> None:
    analysis = needing("prompt", "tasks")
    request = Request.from_dict(DIRECT)
    request.check(analysis)
    made = request.resolve(tiny, analysis)
    assert made == Inputs(tasks=(replace(TASK, related=(), label="", group=""),))
    assert asked(made.as_dict()) == request.as_dict() == DIRECT
    assert Request.from_dict({"prompt": "x"}).resolve(tiny, analysis) == Inputs(prompt="x")
    words = command_line("lengths", {"spec": "toy:random"}, {"request": request.as_dict()}, LengthSpec())
    assert words.endswith(f"--prompt '{TASK.text}' --answer Tokyo --alias 'Tōkyō' --span subject=Kyoto")
    with pytest.raises(InputError, match="'Osaka' is not in the prompt"):
        Request.from_dict(DIRECT | {"span": "subject=Osaka"}).check(analysis)


def test_files_are_read_as_what_the_analysis_needs(tiny: Model, tmp_path: Path) -> None:
    tasks, texts, pairs = (tmp_path / name for name in ("tasks.jsonl", "texts.txt", "pairs.jsonl"))
    tasks.write_text("\n".join(json.dumps(one.as_dict()) for one in (TASK, TaskPrompt("a b", ("c",)), TASK)))
    texts.write_text("the red book\n\n the blue  hat \r\nthe red book\n")
    pairs.write_text(json.dumps(vars(PAIR)) + "\n")
    read = {path: Request(file=str(path)) for path in (tasks, texts, pairs)}
    assert read[tasks].resolve(tiny).tasks == (TASK, TaskPrompt("a b", ("c",)))
    assert read[tasks].resolve(tiny).note == "tasks.jsonl: 2 of 3 tasks; 1 refused (1 × repeated task)"
    assert read[texts].resolve(tiny).texts == ("the red book", " the blue  hat ", "the red book")
    assert read_prompts(tiny, read[tasks], None) == [TASK.text, "a b"]
    assert read_prompts(tiny, Request(), str(texts)) == ["the red book", " the blue  hat ", "the red book"]
    assert read[tasks].resolve(tiny, needing("texts")).texts == (TASK.text, "a b", TASK.text)
    assert read[pairs].resolve(tiny, needing("pairs")).kinds == {"pair", "pairs"}
    with pytest.raises(InputError, match=r"pairs.jsonl line 1: unknown field 'clean'"):
        read[pairs].resolve(tiny, needing("tasks"))
    with pytest.raises(InputError, match="lengths needs one prompt"):
        read[pairs].check(needing("prompt"))
    with pytest.raises(InputError, match="lengths needs"):
        read[pairs].check(needing("tasks", "texts"))


def test_what_was_asked_in_a_few_words() -> None:
    assert in_words({"set": "ioi", "limit": 3}) == "ioi × 3, seed 0"
    assert in_words(DIRECT) == TASK.text
    assert in_words({"file": "a.jsonl"}) == "a.jsonl"
    assert in_words({side: getattr(PAIR, side) for side in vars(PAIR)}) == PAIR.clean


def test_a_batch_gives_each_analysis_inputs_of_its_own(bench: Workbench, tmp_path: Path) -> None:
    from interp.batch import read_batch, run_batch

    pair = {side: text for side, text in vars(PAIR).items() if side != "label"}
    content = {
        "models": ["toy:random"],
        "inputs": [pair],
        "analyses": [
            {"analysis": "logit_lens", "inputs": [{"prompt": "the red book"}, {"prompt": "a hat"}]},
            {"analysis": "direct_logit_attribution"},
        ],
    }
    file = tmp_path / "batch.yaml"
    file.write_text(json.dumps(content))
    table = run_batch(bench, read_batch(file), lambda _f, _l: None)
    assert list(table["analysis"]) == ["direct_logit_attribution", "logit_lens", "logit_lens"]
    assert set(table["status"]) == {"done"}
    del content["inputs"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="asks for nothing: inputs must name"):
        read_batch(file)
    content["analyses"] = content["analyses"][:1]
    file.write_text(json.dumps(content))
    assert [item.request.prompt for item in read_batch(file)] == ["the red book", "a hat"]
    content["analyses"][0]["inputs"] = []  # type: ignore[index]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="its inputs must be a list of one or more"):
        read_batch(file)
