"""A query that does not fit into memory is refused, and never spilled to the disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from data.store import Store
from hooks.errors import InputError


def test_results_too_large_for_memory_are_an_error(tmp_path: Path) -> None:
    small = Store(tmp_path, memory_limit="60MB")
    with pytest.raises(InputError, match=r"needs more than the memory limit allows"):
        small.query("SELECT len(list(range)) FROM range(300_000_000)")


def test_a_sort_too_large_for_memory_writes_nothing_to_the_disk(tmp_path: Path) -> None:
    small = Store(tmp_path, memory_limit="60MB")
    before = sorted(path.name for path in tmp_path.iterdir())
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            seen.update(path.name for path in tmp_path.iterdir())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(InputError, match="nothing asked here is written to disk"):
            small.query(
                "SELECT count(*) FROM (SELECT i, hash(i) AS h, repeat('abc', 30) || i::VARCHAR AS s "
                "FROM range(3_000_000) t(i) ORDER BY s, h) WHERE i % 7 = 0"
            )
    finally:
        stop.set()
        watcher.join()
    assert sorted(seen) == before, "a folder for spilling was made"
