"""The store of one workspace: runs and their result frames, the catalogue of captures, read-only SQL over all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data import runs, sql
from data.connection import Database
from data.runs import RunRecord
from hooks.errors import InputError, reason

__all__ = ["RunRecord", "Store"]


class Store:
    """One workspace folder: `workbench.duckdb` and, beside it, `captures/` with the wide float payload.

    Any number of Store objects, threads and processes may share a workspace. A file that is damaged, of another schema
    version or not ours raises InputError here and is left untouched.
    """

    def __init__(self, workspace: Path, memory_limit: str = "2GB", patience: float = 40.0) -> None:
        self.workspace = Path(workspace)
        try:
            self.workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"workspace {str(workspace)!r} cannot be used as a folder: {reason(error)}") from error
        self.database = Database(self.workspace / "workbench.duckdb", memory_limit, patience)
        with self.database.reading():
            pass

    @property
    def captures(self) -> Path:
        """The folder of the activation shards, one folder a capture."""
        return self.database.path.parent / "captures"

    def save_run(self, record: RunRecord, frames: dict[str, pd.DataFrame]) -> None:
        """Write a run and its frames in one transaction, in place of any run of that key. Drops its parts once done.

        Keeps column names, types, row order and every value exactly; the index must be a plain one and is not kept.
        """
        prepared = runs.prepare(record, frames)
        with self.database.writing() as connection:
            runs.save(connection, record, prepared)

    def find_run(self, key: str) -> RunRecord | None:
        """The run of that key, whatever its status, or None."""
        with self.database.reading() as connection:
            return runs.find(connection, key)

    def load_frames(self, key: str) -> dict[str, pd.DataFrame]:
        """The frames of a run, exactly as saved. Raises InputError for an unknown key."""
        with self.database.reading() as connection:
            return runs.load_frames(connection, key)

    def list_runs(self) -> pd.DataFrame:
        """All runs, newest first: key, analysis, version, model, status, error, seconds, created, inputs, spec."""
        with self.database.reading() as connection:
            return runs.listing(connection)

    def delete_run(self, key: str) -> None:
        """Remove a run, its rows and its parts. Raises InputError for an unknown key."""
        with self.database.writing() as connection:
            runs.delete(connection, key)

    def save_part(self, key: str, part: str, frame: pd.DataFrame) -> None:
        """Keep one finished piece of an unfinished run, in place of any piece of that name."""
        encoded = runs.encode_part(part, frame)
        with self.database.writing() as connection:
            runs.save_part(connection, key, part, encoded)

    def load_part(self, key: str, part: str) -> pd.DataFrame | None:
        """A piece exactly as saved, or None."""
        with self.database.reading() as connection:
            return runs.load_part(connection, key, part)

    def drop_parts(self, key: str) -> None:
        """Forget the pieces of a run."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM run_parts WHERE run = ?", [key])

    def query(self, sql_text: str, limit: int = 10_000, timeout_s: float = 30.0) -> pd.DataFrame:
        """Read-only SQL of the user's. At most `limit` rows; `attrs["cut"]` says whether there were more."""
        return sql.query(self.database, self.captures, sql_text, limit, timeout_s)
