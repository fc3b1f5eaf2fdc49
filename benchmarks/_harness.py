"""How a row is measured: compared first, then timed in turns with its peer, in one process; medians are reported."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "transformer-lens", "duckdb")


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is peer / ours: how many times faster we are; `goal` is for the ratio."""

    row: str
    ours: float
    peer: float
    ratio: float
    goal: str
    met: bool
    unit: str
    difference: float
    note: str = ""

    def line(self) -> str:
        """The row as it is printed."""
        mark = "met " if self.met else "MISS"
        times = f"ours {self.ours:.3g} {self.unit}, peer {self.peer:.3g} {self.unit}, {self.ratio:.1f}×"
        return f"{mark} {self.row}: {times} (goal {self.goal}), max difference {self.difference:.2g}"

    def as_dict(self) -> dict[str, Any]:
        """The row with what is needed to make sense of it later."""
        return vars(self) | surroundings()


def surroundings() -> dict[str, Any]:
    """Device, versions, commit and date."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return {
        "device": f"CPU, {torch.get_num_threads()} threads, {platform.machine()}",
        "versions": versions,
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def in_turns(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, peer_repeats: int) -> tuple[float, float]:
    """Median seconds of both, run alternately so that a slow moment of the machine hits both; ours is warmed up."""
    mine: list[float] = []
    theirs: list[float] = []
    ours()
    for turn in range(repeats):
        mine.append(_timed(ours))
        if turn < peer_repeats:
            theirs.append(_timed(peer))
    return statistics.median(mine), statistics.median(theirs)


def faster(
    name: str, ours: float, peer: float, goal: float, difference: float, tolerance: float, note: str = ""
) -> Row:
    """A row of seconds; refused when the results disagree, for a speed-up of a wrong answer is none."""
    if not difference <= tolerance:
        raise SystemExit(f"{name}: results differ by {difference:.3g}, more than {tolerance:g}; nothing is timed")
    return Row(name, ours, peer, peer / ours, f"≥ {goal:g}×", peer / ours >= goal, "s", difference, note)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
