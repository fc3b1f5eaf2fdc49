"""The command line as a user meets it: results on stdout, progress on stderr, one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyses._registry import registry
from tests.interp.conftest import Terminal
from tests.pairs import PAIR

PATCHING = (
    "run", "activation_patching", "--model", "toy:random", "--clean", PAIR.clean, "--corrupted", PAIR.corrupted,
    "--answer", PAIR.answer, "--distractor", PAIR.distractor,
)  # fmt: skip


def test_run_prints_one_json_object(interp: Terminal) -> None:
    result = interp(*PATCHING, "--layers", "0", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert set(said) == {"run", "analysis", "model", "spec", "checks", "frames", "seconds"}
    assert said["analysis"] == "activation_patching"
    assert said["model"]["name"] == "toy:random"
    assert {row["layer"] for row in said["frames"]["cells"]} == {0}
    assert said["frames"]["cells"][0]["low"] is None, "one pair has no interval: NaN is null in JSON"
    assert said["checks"]


def test_second_run_is_answered_from_the_store(interp: Terminal) -> None:
    first, second = (json.loads(interp(*PATCHING, "--json").stdout) for _ in range(2))
    assert first["run"] == second["run"]
    assert first["seconds"] == second["seconds"]
    assert first["frames"] == second["frames"]


def test_runs_lists_and_export_opens_by_beginning_of_key(interp: Terminal, tmp_path: Path) -> None:
    key = json.loads(interp(*PATCHING, "--json").stdout)["run"]
    assert [row["key"] for row in json.loads(interp("runs", "--json").stdout)] == [key]
    target = tmp_path / "deep" / "data.parquet"
    result = interp("export", key[:8], "--to", str(target), "--show", "metric=kl", "--json")
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)["written"]
    assert written
    assert all(Path(path).stat().st_size > 0 for path in written)


def test_sql_reads_results_and_refuses_writing(interp: Terminal) -> None:
    interp(*PATCHING)
    answer = json.loads(interp("sql", "SELECT count(*) AS n FROM activation_patching__values", "--json").stdout)
    assert answer[0]["n"] > 0
    refused = interp("sql", "DROP TABLE runs")
    assert refused.exit_code == 2
    assert "DROP" in refused.stderr.upper()


@pytest.mark.parametrize("command", [
    (), ("models",), ("analyses",), ("sets",), ("capture",), ("run",), ("batch",), ("runs",), ("sql",), ("export",),
    ("rerun",), ("doctor",), ("app",), ("dictionaries",), *(("run", name) for name in registry()),
], ids=" ".join)  # fmt: skip
def test_every_command_has_help(interp: Terminal, command: tuple[str, ...]) -> None:
    result = interp(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: interp" in result.stdout


BAD = {
    "unknown analysis": (("run", "activation_patchin", "--prompt", "hello"), "activation_patching"),
    "unknown model": (("run", "activation_patching", "--model", "smollm2-135", *PATCHING[4:]), "smollm2-135m"),
    "no input": (("run", "activation_patching", "--model", "toy:random"), "--clean"),
    "two inputs": ((*PATCHING, "--prompt", "x"), "exactly one"),
    "half a pair": ((*PATCHING[:8],), "--answer"),
    "wrong input": (("run", "activation_patching", "--model", "toy:random", "--prompt", "hello"), "--clean"),
    "unequal pair": ((*PATCHING[:7], PAIR.corrupted + " and", *PATCHING[8:]), "tokens"),
    "long answer": ((*PATCHING[:9], " Mary and John", *PATCHING[10:]), "tokens"),
    "bad choice": ((*PATCHING, "--direction", "sideways"), "denoising"),
    "bad number": ((*PATCHING, "--layers", "many"), "layers"),
    "absent layer": ((*PATCHING, "--layers", "99"), "0 to 2"),
    "unknown set": (("run", "activation_patching", "--model", "toy:random", "--set", "ioj"), "ioi"),
    "bad format": ((*PATCHING, "--export", "figure.bmp"), ".svg"),
    "unknown run": (("export", "feedface", "--to", "x.csv"), "feedface"),
    "no figure": (("rerun", "nothing.svg"), "nothing.svg"),
    "no batch file": (("batch", "nothing.yaml"), "nothing.yaml"),
    "bad SQL": (("sql", "SELEC 1"), "SELEC"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(interp: Terminal, case: str) -> None:
    words, named = BAD[case]
    result = interp(*words)
    assert result.exit_code == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert named in result.stderr
    assert result.stdout == ""


def test_empty_prompt_is_named(interp: Terminal) -> None:
    needs_prompt = next(a.name for a in registry().values() if "prompt" in a.needs)
    result = interp("run", needs_prompt, "--model", "toy:random", "--prompt", "")
    assert result.exit_code == 2
    assert "empty" in result.stderr


def test_prompt_longer_than_the_context_is_named(interp: Terminal) -> None:
    needs_prompt = next(a.name for a in registry().values() if "prompt" in a.needs)
    result = interp("run", needs_prompt, "--model", "toy:random", "--prompt", "the " * 500)
    assert result.exit_code == 2
    assert "at most 256" in result.stderr


def test_doctor_tells_every_check(interp: Terminal) -> None:
    result = interp("doctor", "--model", "toy:random", "--json")
    checks = json.loads(result.stdout)["checks"]
    assert {"hugging_face_parity", "padding_invariance", "doubled_bos", "quantisation"} <= set(checks)
    assert result.exit_code == int(any(check["status"] == "fail" for check in checks.values()))


def test_capture_then_resume_then_sql(interp: Terminal, tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("the red book\nMary and John went to the park\nthe red book\n")
    words = (
        "capture",
        "demo",
        "--model",
        "toy:random",
        "--prompts",
        str(lines),
        "--site",
        "resid_post",
        "--layer",
        "1",
        "--json",
    )
    first = json.loads(interp(*words).stdout)
    assert (first["prompts"], first["resumed"]) == (3, 0)
    assert json.loads(interp(*words).stdout)["resumed"] == 3
    rows = json.loads(
        interp("sql", "SELECT prompt, count(*) AS n FROM activations GROUP BY ALL ORDER BY 1", "--json").stdout
    )
    assert [row["prompt"] for row in rows] == [0, 1, 2]
    assert rows[0]["n"] == rows[2]["n"] > 0


def test_capture_plan_says_the_cost_and_keeps_nothing(interp: Terminal) -> None:
    said = interp(
        "capture", "demo", "--model", "toy:random", "--prompt", "the red book", "--site", "z", "--plan", "--json"
    )
    assert json.loads(said.stdout)["cost"]["payload_bytes"] > 0
    assert json.loads(interp("sql", "SELECT count(*) AS n FROM captures", "--json").stdout) == [{"n": 0}]


def test_a_shipped_set_and_a_file_of_pairs(interp: Terminal, tmp_path: Path) -> None:
    words = ("run", "activation_patching", "--model", "toy:random", "--layers", "0", "--json")
    said = json.loads(interp(*words, "--set", "ioi", "--limit", "6").stdout)
    assert len(said["frames"]["pairs"]) == 6
    assert any(row["low"] is not None for row in said["frames"]["cells"]), "enough pairs have an interval"
    file = tmp_path / "pairs.jsonl"
    given = {k: v for k, v in vars(PAIR).items() if k != "label"}
    file.write_text(json.dumps(given) + "\n" + json.dumps(given | {"answer": " Mary and"}) + "\n")
    result = interp(*words[:-1], "--file", str(file))
    assert result.exit_code == 0, result.stderr
    assert "1 of 2" in result.stdout or "refused" in result.stdout, "the refused pair is said"
