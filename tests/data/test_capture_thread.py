"""The writer's thread: order, a bound in bytes, errors told once, memory that does not grow with the prompts."""

from __future__ import annotations

import errno
import threading
import time

import pytest
import torch

from data import capture_shards
from data.capture_thread import BoundedWorker
from data.captures import CaptureWriter, open_capture
from data.store import Store
from hooks.errors import Cancelled, InputError

MODEL = {"name": "tiny"}


class Log:
    """Work that notes what it was given; it may be slow, hold until released, or fail at an item."""

    def __init__(self, fails_at: int = -1, pause: float = 0.0) -> None:
        self.seen: list[int] = []
        self.fails_at, self.pause, self.gate = fails_at, pause, threading.Event()
        self.gate.set()

    def work(self, item: int) -> int:
        self.gate.wait(10)
        time.sleep(self.pause)
        if item == self.fails_at:
            raise InputError(f"item {item} is bad")
        self.seen.append(item)
        return 10

    def idle(self, flush: bool) -> int:
        return 0


def worker(log: Log, limit: int = 30) -> BoundedWorker[int]:
    return BoundedWorker("test", log.work, log.idle, limit, 30.0)


def test_items_are_worked_off_in_order_and_flush_waits_for_all() -> None:
    log = Log(pause=0.001)
    one = worker(log)
    for item in range(50):
        one.put(item, 10)
    one.flush()
    assert log.seen == list(range(50))
    assert 10 <= one.high_water <= 30
    one.close()


def test_put_waits_for_room() -> None:
    log = Log()
    log.gate.clear()
    one = worker(log)
    done = threading.Event()

    def fill() -> None:
        for item in range(6):
            one.put(item, 10)
        done.set()

    threading.Thread(target=fill, daemon=True).start()
    assert not done.wait(0.2), "six items do not fit where three do"
    log.gate.set()
    assert done.wait(5)
    one.flush()
    assert log.seen == list(range(6))
    one.close()


def test_an_item_larger_than_all_the_room_still_passes() -> None:
    log = Log()
    one = worker(log, limit=5)
    one.put(0, 10)
    one.put(1, 10)
    one.flush()
    assert log.seen == [0, 1]
    one.close()


def test_an_error_is_told_once_and_named_ever_after() -> None:
    log = Log(fails_at=2)
    one = worker(log, limit=1000)
    for item in range(3):
        one.put(item, 10)
    with pytest.raises(InputError, match=r"^item 2 is bad$"):
        one.flush()
    with pytest.raises(InputError, match="writing stopped at an earlier error: item 2 is bad"):
        one.put(9, 10)
    assert (log.seen, one.told) == ([0, 1], True)
    one.close()


def fill(writer: CaptureWriter, prompts: range, rows: int = 8) -> None:
    for prompt in prompts:
        writer.add(prompt, str(prompt), [1] * rows, ["t"] * rows, {(0, "resid_post"): torch.full((rows, 64), prompt)})


def test_an_error_of_the_writer_reaches_the_caller_and_what_is_durable_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = capture_shards.write_shard

    def full(path, *rest):
        if path.name.startswith("00002"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(capture_shards, "write_shard", full)
    durable: list[set[int]] = []

    def capture() -> None:
        with CaptureWriter(store, "cap", MODEL, {}, shard_bytes=1) as writer:
            for prompt in range(200):
                fill(writer, range(prompt, prompt + 1))
                writer.commit()
                durable.append(writer.done())

    with pytest.raises(InputError, match="no space left to write"):
        capture()
    assert durable[-1] == {0, 1}
    monkeypatch.undo()
    assert not open_capture(store, "cap").complete
    with CaptureWriter(store, "cap", MODEL, {}) as again:
        assert again.done() == durable[-1]
        fill(again, range(5))
    assert open_capture(store, "cap").layer("resid_post", 0)[::8, 0].tolist() == [0, 1, 2, 3, 4]


def test_an_error_that_nobody_heard_is_raised_when_the_block_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(capture_shards, "write_shard", broken)
    with pytest.raises(RuntimeError, match="the disk is gone"), CaptureWriter(store, "cap", MODEL, {}) as writer:
        fill(writer, range(2))
    assert not open_capture(store, "cap").complete


def test_cancelling_keeps_what_was_added(store: Store) -> None:
    def cancelled() -> None:
        with CaptureWriter(store, "cap", MODEL, {}) as writer:
            fill(writer, range(7))
            raise Cancelled

    with pytest.raises(Cancelled):
        cancelled()
    assert not any(thread.name == "capture cap" for thread in threading.enumerate())
    reader = open_capture(store, "cap")
    assert (reader.complete, reader.n_rows) == (False, 56)


def test_what_is_on_the_way_is_bounded_whatever_the_number_of_prompts(store: Store) -> None:
    """A hundred times the prompts, the same high water: two shards and the pack that did not fit."""
    shard, pack = 20_000, 8 * 64 * 4 + 8 * 16
    seen = []
    for name, prompts in (("few", 10), ("many", 1000)):
        with CaptureWriter(store, name, MODEL, {}, shard_bytes=shard) as writer:
            fill(writer, range(prompts))
        seen.append(writer.high_water)
    assert seen[0] == 10 * pack
    assert shard < seen[1] <= 2 * shard + pack


def test_slow_captures_become_durable_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.capture_shards.PATIENCE_S", 0.05)
    monkeypatch.setattr("data.captures.PATIENCE_S", 0.05)
    with CaptureWriter(store, "cap", MODEL, {}) as writer:
        fill(writer, range(3))
        deadline = time.monotonic() + 10
        while writer.done() != {0, 1, 2} and time.monotonic() < deadline:
            time.sleep(0.02)
        assert writer.done() == {0, 1, 2}
