"""Opening the one DuckDB file of a workspace: briefly, with retries, and only when it is ours.

A file open for writing locks every other process out, so every use is open, work, close. Within a process a Gate keeps
readers and writers apart; readers share one read-only instance.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from data.failures import busy, is_busy, translated, unusable
from data.gate import Gate
from data.workspace import exclusive, sync_folder
from hooks.errors import InputError

APPLICATION = "interp-workbench"
SCHEMA_VERSION = "1"

# No connection ever needs files, extensions or Python variables by name, so none gets them, writers included.
_LOCKED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
_gates: dict[tuple[int, Path], Gate] = {}


class Database:
    """One workspace's `workbench.duckdb`, made from schema.sql on first use.

    `patience` is how long, in seconds, to wait for other threads and processes.
    """

    def __init__(self, path: Path, memory_limit: str, patience: float) -> None:
        self.path = path.absolute()
        self.patience = patience
        self._config: dict[str, str | bool | int | float | list[str]] = {**_LOCKED, "memory_limit": memory_limit}
        self._verified: set[tuple[int, int]] = set()
        # Keyed by process too: a forked child must not inherit a gate that its parent holds.
        self._gate = _gates.setdefault((os.getpid(), self.path), Gate())

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection. Do not nest within one thread."""
        with self._gate.reading(self.patience), translated(self.path):
            if not self.path.exists():
                self._create()
            connection = self._open(read_only=True)
            try:
                self._check(connection)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One transaction: committed when the block ends well, rolled back when it raises."""
        with self._gate.writing(self.patience), translated(self.path):
            self._verify()
            connection = self._open(read_only=False)
            try:
                self._check(connection)
                connection.begin()
                yield connection
                connection.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    connection.rollback()
                raise
            finally:
                connection.close()

    def _verify(self) -> None:
        """Look at a file read-only before it is first opened for writing, so that a foreign one stays untouched."""
        if not self.path.exists():
            self._create()
        if self._inode() not in self._verified:
            connection = self._open(read_only=True)
            try:
                self._check(connection)
            finally:
                connection.close()

    def _inode(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _check(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Raise InputError unless the file carries our marker and this schema version."""
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except (duckdb.CatalogException, duckdb.BinderException):
            meta = {}
        if meta.get("application") != APPLICATION:
            raise InputError(
                f"{self.path} is a DuckDB file of another program; it was left as it is: use another workspace folder"
            )
        if meta.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {meta.get('schema_version')} and this program reads {SCHEMA_VERSION}; "
                "it was left as it is: use the program that wrote it, or another workspace folder"
            )
        self._verified.add(self._inode())

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline, pause = time.monotonic() + self.patience, 0.01
        while True:
            try:
                # What only reads never spills to the disk: a query too large for memory is refused instead.
                config = {**self._config, "temp_directory": ""} if read_only else self._config
                return duckdb.connect(str(self.path), read_only=read_only, config=config)
            except duckdb.Error as error:
                if not is_busy(error):
                    raise unusable(self.path, error) from error
                if time.monotonic() + pause > deadline:
                    raise busy(self.path, error, self.patience) from error
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def _create(self) -> None:
        """Make the file under another name and rename it, so that nobody ever sees half a schema."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        log = self.path.with_name(self.path.name + ".wal")
        fresh = self.path.with_name(f".{self.path.name}.new")
        with exclusive(self.path.with_name(f".{self.path.stem}.lock"), block=True):
            if self.path.exists():
                return
            if log.exists():
                raise InputError(
                    f"{log} is here without its database {self.path.name}; restore it or move the log away"
                )
            fresh.unlink(missing_ok=True)
            connection = duckdb.connect(str(fresh), config=self._config)
            try:
                connection.execute(Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"))
                rows = [("application", APPLICATION), ("schema_version", SCHEMA_VERSION)]
                connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            finally:
                connection.close()
            fresh.rename(self.path)
            sync_folder(self.path.parent)
