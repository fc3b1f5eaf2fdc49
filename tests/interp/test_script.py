"""Page = script: the command line, the Python snippet and the batch file of a run all give that very run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hooks.errors import InputError
from interp.batch import read_batch, run_batch
from interp.runs import Run
from interp.script import batch_file, command_line, python_snippet
from interp.workbench import Workbench
from tests.interp.conftest import Terminal
from tests.pairs import PAIR

ASKED = {"clean": PAIR.clean, "corrupted": PAIR.corrupted, "answer": PAIR.answer, "distractor": PAIR.distractor}
SPEC = {"sites": ["attn_out", "z"], "direction": "noising", "hide_uncertain": True, "layers": [1]}


@pytest.fixture
def done(bench: Workbench) -> Run:
    return bench.run("activation_patching", "toy:random", spec=SPEC, **ASKED)


def test_command_line_gives_the_same_run(done: Run, interp: Terminal) -> None:
    words = shlex.split(command_line("activation_patching", done.model, done.inputs, done.spec))
    said = json.loads(interp(*words[1:], "--json").stdout)
    assert said["run"] == done.key
    assert said["spec"] == done.spec.model_dump(mode="json")


def test_python_snippet_gives_the_same_run(
    done: Run, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERP_WORKSPACE", str(bench.workspace))
    monkeypatch.chdir(tmp_path)
    snippet = python_snippet("activation_patching", done.model, done.inputs, done.spec)
    names: dict[str, object] = {}
    exec(compile(snippet.replace("run.export('figure.svg')", ""), "snippet", "exec"), names)
    made = names["run"]
    assert isinstance(made, Run)
    assert (made.key, made.reused) == (done.key, True)


def test_batch_file_gives_the_same_run(done: Run, bench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "batch.yaml"
    file.write_text(batch_file("activation_patching", done.model, done.inputs, done.spec))
    table = run_batch(bench, read_batch(file), lambda _f, _l: None)
    assert list(table["run"]) == [done.key]
    assert list(table["status"]) == ["reused"]


WHOLE = {"models": ["toy:random"], "inputs": [ASKED], "analyses": [{"analysis": "activation_patching"}]}


def write(folder: Path, **content: object) -> Path:
    file = folder / "batch.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_batch_expands_models_inputs_and_grids_and_survives_a_failure(bench: Workbench, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        models=["toy:random", "toy:gpt2"],
        inputs=[ASKED, ASKED | {"answer": " Mary and"}],
        analyses=[
            {
                "analysis": "activation_patching",
                "spec": {"layers": [0]},
                "grid": {"direction": ["denoising", "noising"]},
            }
        ],
    )
    items = read_batch(file)
    assert len(items) == 8
    table: pd.DataFrame = run_batch(bench, items, lambda _f, _l: None)
    assert table["status"].value_counts().to_dict() == {"done": 4, "failed": 4}
    assert table[table["status"] == "failed"]["error"].str.contains("tokens").all()
    again = run_batch(bench, items, lambda _f, _l: None)
    assert again["status"].value_counts().to_dict() == {"reused": 4, "failed": 4}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"models": ["toy:random"], "inputs": []}, "analyses"),
        (
            {"models": ["toy:random"], "inputs": [{"promt": "x"}], "analyses": [{"analysis": "activation_patching"}]},
            "promt",
        ),
        ({"models": [{"name": "x"}], "inputs": [], "analyses": []}, "model"),
        ({"models": [], "inputs": [], "analyses": [{"analysis": "logit_lenz"}]}, "unknown analysis"),
        (
            {"models": [], "inputs": [], "analyses": [{"analysis": "activation_patching", "spec": {"layer": 1}}]},
            "layer",
        ),
        ({"models": [], "inputs": [], "analyses": []}, "asks for nothing: models and inputs and analyses"),
        (WHOLE | {"inputs": [{"set": "ioj"}]}, "did you mean 'ioi'"),
        (WHOLE | {"inputs": [{"prompt": "x"}]}, "activation_patching needs one pair"),
        (WHOLE | {"inputs": [ASKED | {"answer": ""}]}, "the answer is empty"),
        (WHOLE | {"inputs": [{"set": "ioi", "limit": "many"}]}, "limit = 'many' must be a whole number"),
        (WHOLE | {"inputs": [{"file": "nothing.jsonl"}]}, "there is no such file"),
    ],
)
def test_bad_batch_files_are_refused_before_anything_runs(
    content: dict[str, object], named: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=named):
        read_batch(write(tmp_path, **content))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("smollm2-135", "did you mean 'smollm2-135m'"),
        ("toy:randm", "did you mean 'toy:random'"),
        ("./nothing", "no such file or folder"),
        ("nothing.gguf", "no such file or folder"),
        ({"model": "toy:random", "dtype": "float8"}, "unknown dtype 'float8'"),
    ],
)
def test_a_model_that_does_not_exist_stops_a_batch_before_its_first_run(
    bench: Workbench, interp: Terminal, tmp_path: Path, model: object, named: str
) -> None:
    file = write(tmp_path, **(WHOLE | {"models": ["toy:random", model]}))
    with pytest.raises(InputError, match=named):
        run_batch(bench, read_batch(file), lambda _f, _l: None)
    assert bench.runs().empty
    for words in (("batch", str(file)), ("batch", str(file), "--plan")):
        result = interp(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert named in result.stderr


def test_a_failed_member_is_told_whole(interp: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path, **(WHOLE | {"inputs": [ASKED, ASKED | {"answer": " Mary and then some more"}]}))
    result = interp("batch", str(file))
    assert result.exit_code == 1
    assert result.stdout.rstrip().endswith("one token is needed")
    assert "InputError" not in result.stdout


@pytest.mark.parametrize(("content", "named"), [(None, "cannot be read: no such file"), (b"\xff", "not YAML|UTF-8")])
def test_an_unreadable_batch_file_is_named_without_the_words_of_python(
    tmp_path: Path, content: bytes | None, named: str
) -> None:
    file = tmp_path / "batch.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=named) as caught:
        read_batch(file)
    assert str(file) in str(caught.value)
    assert "Errno" not in str(caught.value)
