"""One thread that works off items in order, fed through a queue bounded in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from hooks.errors import InputError

Item = TypeVar("Item")


class BoundedWorker(Generic[Item]):
    """Calls `work(item)` for every item put in, `idle(flush)` when there is none, in a thread of its own.

    `work` returns how many bytes it let go of; what was put in and not let go of never exceeds `limit_bytes`, but by
    the one item that is larger than all the room. The first error ends the work: it is raised once, by whichever call
    comes next; calls after that raise an InputError that names it.
    """

    def __init__(
        self, name: str, work: Callable[[Item], int], idle: Callable[[bool], int], limit_bytes: int, pause_s: float
    ) -> None:
        """`idle(flush)` also returns bytes let go of; with `flush` it must leave nothing undone. Called with `flush`
        False after every `pause_s` seconds without an item."""
        self._work, self._idle, self._limit, self._pause = work, idle, limit_bytes, pause_s
        self._items: deque[tuple[Item, int]] = deque()
        self._changed = threading.Condition()
        self._held = 0
        self._flushes_asked = self._flushes_done = 0
        self._closing = False
        self._error: BaseException | None = None
        self._told = False
        self.high_water = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether an error has ended the work."""
        return self._error is not None

    @property
    def told(self) -> bool:
        """Whether that error has reached the caller."""
        return self._told

    def put(self, item: Item, n_bytes: int) -> None:
        """Queue an item, waiting for room."""
        with self._changed:
            self._changed.wait_for(lambda: self.failed or not self._items or self._held + n_bytes <= self._limit)
            self._raise()
            self._items.append((item, n_bytes))
            self._held += n_bytes
            self.high_water = max(self.high_water, self._held)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything put in so far is done, `idle(True)` included."""
        with self._changed:
            self._raise()
            self._flushes_asked += 1
            mine = self._flushes_asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.failed or self._flushes_done >= mine)
            self._raise()

    def close(self) -> None:
        """End the thread; what is still queued is dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is None:
            return
        if self._told:
            raise InputError(f"writing stopped at an earlier error: {self._error}") from self._error
        self._told = True
        raise self._error

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:
            with self._changed:
                self._error = error
                self._items.clear()
                self._changed.notify_all()

    def _step(self) -> bool:
        """One item, or one moment without; False when it is time to end."""
        with self._changed:
            woken = self._changed.wait_for(
                lambda: self._items or self._closing or self._flushes_asked > self._flushes_done, self._pause
            )
            if self._closing:
                return False
            asked = self._flushes_asked
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
        freed = self._work(item[0]) if item else self._idle(bool(woken))
        with self._changed:
            self._held -= freed
            if not item:
                self._flushes_done = max(self._flushes_done, asked if woken else 0)
            self._changed.notify_all()
        return True
