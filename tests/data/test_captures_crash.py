"""Captures under kill -9, a full disk and a second writer: what was acknowledged stays, and is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data.captures import CaptureWriter, open_capture
from data.store import Store
from hooks.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MODEL = {"name": "tiny"}
PLAN = {"dtype": "bfloat16"}

CAPTURE = """
import os, resource, signal, sys
import torch
from pathlib import Path
from data import capture_shards
from data.captures import CaptureWriter
from data.store import Store
from hooks.errors import InputError
folder, ending = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
add_to_catalogue = capture_shards.insert_shards
def die(*arguments):
    add_to_catalogue(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
try:
    with CaptureWriter(Store(folder), "cap", {"name": "tiny"}, {"dtype": "bfloat16"}, shard_bytes=1) as writer:
        for prompt in range(12):
            if prompt == 3 and ending == "in the catalogue":
                capture_shards.insert_shards = die
            if prompt == 3 and ending == "in the file":
                capture_shards.write_shard = lambda path, *rest: (
                    path.with_name(path.name + ".partial").write_bytes(b"half"), os.kill(os.getpid(), signal.SIGKILL))
            if prompt == 3 and ending == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            values = torch.full((4, 600), prompt)
            writer.add(prompt, str(prompt), [prompt] * 4, list("abcd"), {(0, "resid_post"): values})
            writer.commit()
            print(prompt, flush=True)
            if ending == "hold":
                sys.stdin.readline()
except InputError as error:
    print(error)
"""


def start(folder: Path, ending: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CAPTURE, str(folder), ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def resume_and_check(folder: Path, done: set[int]) -> None:
    """Finish the capture in this process; every prompt must then be there once, with its values."""
    with CaptureWriter(Store(folder), "cap", MODEL, PLAN, shard_bytes=1) as writer:
        assert writer.done() == done
        for prompt in range(12):
            writer.add(
                prompt, str(prompt), [prompt] * 4, list("abcd"), {(0, "resid_post"): torch.full((4, 600), prompt)}
            )
            writer.commit()
    reader = open_capture(Store(folder), "cap")
    reader.verify()
    assert reader.tokens()["prompt"].tolist() == [prompt for prompt in range(12) for _ in range(4)]
    assert reader.layer("resid_post", 0)[:, 0].tolist() == [prompt for prompt in range(12) for _ in range(4)]
    files = Store(folder).query("SELECT file FROM shards ORDER BY shard")["file"].tolist()
    found = sorted(path.name for path in (folder / "captures" / "cap").iterdir() if not path.name.startswith("."))
    assert found == files
    assert len(files) == 12


@pytest.mark.parametrize("ending", ["in the file", "in the catalogue"])
def test_a_kill_loses_no_acknowledged_prompt_and_resuming_gives_no_duplicates(tmp_path: Path, ending: str) -> None:
    process = start(tmp_path, ending)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    assert out.split() == ["0", "1", "2"]
    resume_and_check(tmp_path, {0, 1, 2})


def test_a_kill_at_any_moment_keeps_what_was_printed(tmp_path: Path) -> None:
    process = start(tmp_path, "none")
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(5)]
    process.kill()
    rest, _ = process.communicate(timeout=120)
    acknowledged = {int(line) for line in (*seen, *rest.splitlines())}
    with CaptureWriter(Store(tmp_path), "cap", MODEL, PLAN) as writer:
        done = writer.done()
    # The one being written when the signal came may have been committed without its line.
    assert acknowledged <= done <= acknowledged | {max(acknowledged) + 1}
    resume_and_check(tmp_path, done)


def test_no_room_for_a_shard_is_one_clear_error_and_keeps_the_rest(tmp_path: Path) -> None:
    process = start(tmp_path, "full")
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert out.splitlines()[:3] == ["0", "1", "2"]
    assert "no space left to write" in out.splitlines()[3]
    resume_and_check(tmp_path, {0, 1, 2})


def test_a_second_writer_of_the_same_capture_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "hold")
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    with pytest.raises(InputError, match="capture 'cap' is being written by another process"):
        CaptureWriter(Store(tmp_path), "cap", MODEL, PLAN).__enter__()
    process.kill()
    process.communicate(timeout=120)
    resume_and_check(tmp_path, {0})
