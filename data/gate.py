"""A lock for the threads of one process: many readers or one writer, writers first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hooks.errors import InputError


class Gate:
    """DuckDB refuses a read-only and a writing connection to one file within a process; the gate keeps them apart."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    @contextmanager
    def reading(self, patience: float) -> Iterator[None]:
        """Enter together with other readers; InputError after `patience` seconds. A thread must not enter twice."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._writing and not self._writers_waiting, patience):
                raise InputError(f"this program has been writing the workspace for {patience:g} s; try again")
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self, patience: float) -> Iterator[None]:
        """Enter alone; InputError after `patience` seconds."""
        with self._changed:
            self._writers_waiting += 1
            try:
                free = self._changed.wait_for(lambda: not self._writing and not self._readers, patience)
            finally:
                self._writers_waiting -= 1
                self._changed.notify_all()
            if not free:
                raise InputError(f"this program has been using the workspace for {patience:g} s; try again")
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
