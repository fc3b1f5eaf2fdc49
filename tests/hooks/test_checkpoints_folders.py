"""A model folder is whole or absent: interruptions, full disks, damage, and two processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hooks.checkpoints import fetch
from hooks.checkpoints.building import build, models_folder
from hooks.checkpoints.record import RECORD_FILE, Origin
from hooks.errors import Cancelled, InputError
from hooks.progress import silent

ORIGIN = Origin("some", "written by a test", "none", "CC0-1.0")


def visible(workspace: Path) -> list[str]:
    """What is in the models folder besides lock files."""
    return sorted(path.name for path in models_folder(workspace).glob("*") if not path.name.startswith(".lock-"))


def fill(folder: Path) -> Origin:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return ORIGIN


def test_a_made_folder_is_answered_from_disk(tmp_path: Path) -> None:
    made = build(tmp_path, "some", fill, silent)

    def never(folder: Path) -> Origin:
        raise AssertionError("made twice")

    assert build(tmp_path, "some", never, silent) == made
    assert visible(tmp_path) == ["some"]


def test_the_revision_follows_weights_and_configuration(tmp_path: Path) -> None:
    def other_weights(folder: Path) -> Origin:
        fill(folder)
        (folder / "model.safetensors").write_bytes(b"Weights")
        return ORIGIN

    def other_config(folder: Path) -> Origin:
        fill(folder)
        (folder / "config.json").write_text('{"rope_theta": 1}')
        return ORIGIN

    makers = {"a": fill, "b": other_weights, "c": other_config, "d": fill}
    revisions = {name: build(tmp_path, name, make, silent).revision for name, make in makers.items()}
    assert revisions["a"] == revisions["d"]
    assert len(set(revisions.values())) == 3


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted(folder: Path) -> Origin:
        fill(folder)
        raise error

    with pytest.raises(error):
        build(tmp_path, "some", interrupted, silent)
    assert visible(tmp_path) == []


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> Origin:
        fill(folder)
        with open("/dev/full", "wb", buffering=0) as stream:
            stream.write(b"x")
        return ORIGIN

    with pytest.raises(InputError, match=r"no space left in .* to make 'some'"):
        build(tmp_path, "some", full, silent)
    assert visible(tmp_path) == []


def test_too_small_a_disk_is_noticed_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"about 1000000000000 MB are needed"):
        build(tmp_path, "some", fill, silent, needs_mb=1e12)
    assert visible(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from hooks.checkpoints.building import build
from hooks.progress import silent
def make(folder):
    (folder / "half").write_text("half")
    print("started", flush=True)
    time.sleep(60)
build(Path(sys.argv[1]), "toy-random", make, silent)
"""


def test_a_killed_build_is_cleaned_at_the_next_start_and_not_before(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(InputError):
            fetch("no such model", tmp_path)
        assert visible(tmp_path) == [".making-toy-random"]
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(InputError):
        fetch("no such model", tmp_path)
    assert visible(tmp_path) == []


TOGETHER = """
import sys
from pathlib import Path
from hooks.checkpoints import fetch
print(fetch("toy:gpt2", Path(sys.argv[1])).revision)
"""


def test_two_processes_at_once_both_end_up_with_the_model(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0] != ""
    assert visible(tmp_path) == ["digests.json", "toy-gpt2"]


def test_waiting_for_another_process_can_be_cancelled(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)

    def cancel(fraction: float, label: str) -> None:
        assert "waiting for another process" in label
        raise Cancelled

    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(Cancelled):
            fetch("toy:random", tmp_path, cancel)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"name": "some"}'])
def test_a_folder_without_a_sound_record_is_not_ours(tmp_path: Path, content: str | None) -> None:
    folder = models_folder(tmp_path) / "toy-random"
    folder.mkdir(parents=True)
    fill(folder)
    if content is not None:
        (folder / RECORD_FILE).write_text(content)
    expected = "was not made by this workbench" if content is None else "is damaged"
    with pytest.raises(InputError, match=expected):
        fetch("toy:random", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("state", ["is missing", "has 3 bytes instead of 7"])
def test_damaged_weights_are_noticed(tmp_path: Path, state: str) -> None:
    folder = build(tmp_path, "some", fill, silent).folder
    if state == "is missing":
        (folder / "model.safetensors").unlink()
    else:
        os.truncate(folder / "model.safetensors", 3)
    with pytest.raises(InputError, match=state):
        build(tmp_path, "some", fill, silent)


def test_a_ready_model_is_answered_without_heavy_imports(tmp_path: Path) -> None:
    fetch("toy:random", tmp_path)
    code = TOGETHER.replace("gpt2", "random") + "\nassert not {'torch', 'transformers', 'gguf'} & set(sys.modules)"
    started = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr


def test_weights_that_changed_after_conversion_are_refused(tmp_path: Path) -> None:
    checkpoint = fetch("toy:random", tmp_path)
    weights = checkpoint.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"checksum of config\.json, model\.safetensors in .* does not match"):
        fetch("toy:random", tmp_path)
    content[-3] ^= 0x40
    weights.write_bytes(content)
    assert fetch("toy:random", tmp_path) == checkpoint
