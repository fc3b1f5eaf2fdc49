"""Where batch items run. The interface is one method: a distributed engine can stand in without other changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Executor(Protocol):
    """Runs a function over items and yields the results in the items' order."""

    def map(self, work: Callable[[Any], dict[str, Any]], items: Iterable[Any]) -> Iterator[dict[str, Any]]: ...


class InThisProcess:
    """One item after another, here: models stay loaded between items and torch already uses every core."""

    def map(self, work: Callable[[Any], dict[str, Any]], items: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Run the items one by one."""
        return (work(item) for item in items)
