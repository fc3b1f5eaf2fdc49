"""Peak memory of a piece of work: the resident size, sampled while it runs, above what it was before."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process in memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _give_back() -> None:
    """Hand freed memory back to the system, so that using it again is seen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_bytes(work: Callable[[], Any], every: float = 0.001) -> int:
    """The most that `work` added to the resident size, seen every millisecond."""
    gc.collect()
    _give_back()
    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(every):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
        most[0] = max(most[0], resident())
    finally:
        done.set()
        watcher.join()
    return max(0, most[0] - before)
