"""One workspace, many users: threads of one process and processes side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from data.gate import Gate
from data.store import RunRecord, Store
from hooks.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

WRITE = """
import sys
import pandas as pd
from pathlib import Path
from data.store import RunRecord, Store
folder, who = Path(sys.argv[1]), sys.argv[2]
store = Store(folder)
print("ready", flush=True)
sys.stdin.readline()
for number in range(8):
    record = RunRecord(f"{who}{number}", "probe", 1, {"name": who}, {}, {}, {}, "done", "", 0.0, "2026-01-01")
    store.save_run(record, {"cells": pd.DataFrame({"number": [number], who: [1.5]})})
    assert store.load_frames(record.key)["cells"]["number"].tolist() == [number]
"""

HOLD = """
import sys
from pathlib import Path
from data.store import Store
with Store(Path(sys.argv[1])).database.writing():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has printed `ready` and waits for a line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_writing_in_turns_lose_nothing(tmp_path: Path) -> None:
    writers = [start(WRITE, tmp_path, who) for who in ("ann", "bob")]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    reader = Store(tmp_path)
    while any(writer.poll() is None for writer in writers):
        assert len(reader.list_runs()) <= 16
        time.sleep(0.05)
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    listed = reader.list_runs()
    assert sorted(listed["key"]) == sorted(f"{who}{number}" for who in ("ann", "bob") for number in range(8))
    assert reader.load_frames("bob7")["cells"].to_dict("list") == {"number": [7], "bob": [1.5]}


def test_a_file_held_too_long_names_the_holder(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    try:
        with pytest.raises(InputError, match=rf"still in use by .*\(process {holder.pid}\) after 0.3 s"):
            Store(tmp_path, patience=0.3)
    finally:
        holder.communicate("\n", timeout=60)
    assert Store(tmp_path).list_runs().empty


def test_a_waiting_process_goes_on_once_the_file_is_free(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    release = threading.Timer(0.5, lambda: holder.communicate("\n", timeout=60))
    release.start()
    assert Store(tmp_path, patience=30).list_runs().empty
    release.join()


def test_threads_read_and_write_together(tmp_path: Path, make_record: Callable[..., RunRecord]) -> None:
    stores = [Store(tmp_path) for _ in range(3)]

    def work(number: int) -> int:
        store = stores[number % 3]
        store.save_run(make_record(f"k{number}"), {"cells": pd.DataFrame({"number": [number]})})
        assert len(store.query("FROM runs")) >= 1
        return int(store.load_frames(f"k{number}")["cells"]["number"][0])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(18))) == list(range(18))
    assert len(stores[0].list_runs()) == 18


def test_two_stores_are_created_at_once_in_one_new_workspace(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store(tmp_path / "new"), range(4)))
    assert all(store.list_runs().empty for store in stores)


def test_the_gate_lets_readers_in_together_and_a_writer_alone() -> None:
    gate = Gate()
    with (
        gate.reading(0.1),
        gate.reading(0.1),
        pytest.raises(InputError, match="using the workspace"),
        gate.writing(0.1),
    ):
        pass
    with gate.writing(0.1), pytest.raises(InputError, match="writing the workspace"), gate.reading(0.1):
        pass
    with gate.writing(0.1):
        pass


def test_the_gate_gives_a_waiting_writer_its_turn_before_new_readers() -> None:
    gate, order = Gate(), []
    waiting = threading.Event()

    def write() -> None:
        waiting.set()
        with gate.writing(30):
            order.append("writer")

    def read() -> None:
        with gate.reading(30):
            order.append("reader")

    with gate.reading(1):
        writer = threading.Thread(target=write)
        writer.start()
        waiting.wait()
        while not gate._writers_waiting:
            pass
        reader = threading.Thread(target=read)
        reader.start()
    writer.join()
    reader.join()
    assert order == ["writer", "reader"]
