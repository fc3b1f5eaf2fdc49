"""What a command line got wrong is told in one line, before the model is loaded where it can be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hooks.errors import InputError
from interp.targets import check_targets
from interp.workbench import Workbench
from tests.interp.conftest import Terminal
from tests.pairs import PAIR

PATCHING = (
    "run", "activation_patching", "--model", "toy:random", "--clean", PAIR.clean, "--corrupted", PAIR.corrupted,
    "--answer", PAIR.answer, "--distractor", PAIR.distractor,
)  # fmt: skip
LENS = ("run", "logit_lens", "--model", "toy:random")

PARSED = {
    "command": (("rnus",), "unknown command 'rnus': did you mean 'runs'"),
    "site": ((*PATCHING, "--sites", "resid_prd"), "unknown value of --sites 'resid_prd': did you mean 'resid_pre'"),
    "dtype": ((*PATCHING, "--dtype", "float8"), "did you mean 'float32'"),
    "limit": ((*PATCHING, "--limit", "0"), "--limit '0': give a whole number from 1"),
    "not a number": ((*PATCHING, "--limit", "x"), "--limit 'x': give a whole number from 1"),
    "option": ((*PATCHING, "--directoin", "noising"), "did you mean '--direction'"),
    "port": (("app", "--port", "0"), "--port '0': give a whole number from 1 to 65535"),
    "missing argument": (("export", "--to", "x.csv"), "missing argument 'RUN'"),
    "missing option": (("export", "x"), "missing option '--to'"),
    "width": ((*PATCHING, "--width", "one-colum"), "did you mean 'one-column'"),
}


@pytest.mark.parametrize("case", PARSED)
def test_a_parse_error_is_one_line_with_the_nearest_choice(interp: Terminal, case: str) -> None:
    words, named = PARSED[case]
    result = interp(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("error: ")
    assert named in result.stderr


EARLY = {
    "no input": (LENS, "logit_lens needs one prompt"),
    "two inputs": ((*LENS, "--prompt", "x", "--set", "ioi"), "prompt and set were given"),
    "empty prompt": ((*LENS, "--prompt", ""), "the prompt is empty: give some text (--prompt)"),
    "empty answer": (
        (*PATCHING[:9], "", *PATCHING[10:]),
        "the answer is empty: give one token, its leading space included (--answer)",
    ),
    "wrong input": ((*LENS, "--set", "ioi"), "logit_lens needs one prompt"),
    "half a pair": (PATCHING[:8], "--answer and --distractor"),
    "too small": ((*LENS, "--prompt", "x", "--top-k", "0"), "top_k"),
    "no number": ((*LENS, "--prompt", "x", "--top-k", "x"), "top_k"),
    "unknown set": ((*PATCHING[:4], "--set", "ioj"), "did you mean 'ioi'"),
    "missing file": ((*PATCHING[:4], "--file", "nothing.jsonl"), "--file nothing.jsonl: there is no such file"),
    "folder as file": ((*PATCHING[:4], "--file", "/"), "--file /: is not a file"),
    "unknown figure": ((*LENS, "--prompt", "x", "--figure", "entropi"), "did you mean 'entropy'"),
    "figure of another site": ((*PATCHING, "--figure", "z"), "valid: resid_pre"),
    "export format": ((*LENS, "--prompt", "x", "--export", "a.bmp"), ".svg"),
    "export folder": ((*LENS, "--prompt", "x", "--export", "/dev/null/a.svg"), "cannot write /dev/null/a.svg"),
}


@pytest.mark.parametrize("case", EARLY)
def test_what_can_be_told_without_a_model_is_told_before_it_loads(
    interp: Terminal, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_given: object, **_more: object) -> None:
        raise AssertionError("the model was asked for")

    monkeypatch.setattr(Workbench, "model", loads)
    words, named = EARLY[case]
    result = interp(*words)
    assert result.exit_code == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert named in result.stderr


def test_the_python_call_refuses_before_loading_too(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workbench, "model", lambda *_given, **_more: pytest.fail("the model was asked for"))
    with pytest.raises(InputError, match="top_k"):
        bench.run("logit_lens", "toy:random", spec={"top_k": 0}, prompt="x")
    with pytest.raises(InputError, match="input prompt = 5 must be text"):
        bench.run("logit_lens", "toy:random", prompt=5)


def test_looking_at_a_target_makes_nothing(tmp_path: Path) -> None:
    check_targets([tmp_path / "deep" / "er" / "a.svg"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b.svg").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        check_targets([tmp_path / "b.svg"])


@pytest.mark.parametrize("words", [("--traceback", *LENS, "--prompt", ""), (*LENS, "--prompt", "", "--traceback")])
def test_a_traceback_can_be_asked_for_before_and_after_the_command(interp: Terminal, words: tuple[str, ...]) -> None:
    result = interp(*words)
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: the prompt is empty")
    assert "Traceback" not in interp(*LENS, "--prompt", "").stderr, "it is not remembered"


@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null"])
def test_a_workspace_that_cannot_be_made_is_named(interp: Terminal, folder: str) -> None:
    result = interp("--workspace", folder, "runs")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: workspace {folder!r} cannot be used as a folder: ")
    assert "Errno" not in result.stderr


def test_help_lists_the_inputs_that_the_analysis_reads_and_plain_types(interp: Terminal) -> None:
    lens, patching = (interp("run", name, "--help").stdout for name in ("logit_lens", "activation_patching"))
    assert "--prompt" in lens
    assert not re.search(r"--(clean|answer|set|limit|file)\b", lens)
    assert "--prompt" not in patching
    assert {"--clean", "--set", "--file"} <= set(re.findall(r"--[a-z]+", patching))
    for text in (lens, patching):
        assert "ANNOTATED" not in text
        assert "None]" not in text
    assert re.search(r"cell\s+\[≥ 1 and ≤ 50, default: 10\]", lens)


def test_json_says_on_stderr_how_many_pairs_were_refused_and_what_was_written(interp: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    given = {name: text for name, text in vars(PAIR).items() if name != "label"}
    file.write_text(json.dumps(given) + "\n" + json.dumps(given | {"answer": " Mary and"}) + "\n")
    target = tmp_path / "ioi.csv"
    words = (*PATCHING[:4], "--layers", "0", "--file", str(file), "--export", str(target))
    told = interp(*words, "--json")
    json.loads(told.stdout)
    assert "1 of 2 pairs align; 1 refused (1 × answer is not one token)" in told.stderr
    plain = interp(*words).stdout
    for said in (told.stderr, plain):
        assert f"wrote {tmp_path / 'ioi.cells.csv'}" in said
        assert f"({target} itself was not written: each of the 3 frames has its own file)" in said


def test_a_prompt_of_white_space_is_pointed_out(interp: Terminal) -> None:
    words = (*LENS, "--positions", "0", "--prompt", "   ")
    assert "the prompt is only white space" in interp(*words).stdout
    assert "the prompt is only white space" in interp(*words, "--json").stderr
