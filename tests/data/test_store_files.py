"""Files that are damaged, foreign or full: one clear error, and not a byte changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from data.store import Store
from hooks.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database file of an otherwise empty workspace, not there yet."""
    return tmp_path / "workbench.duckdb"


def assert_refused_and_untouched(file: Path, says: str) -> None:
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    with pytest.raises(InputError) as caught:
        Store(file.parent, patience=1)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"not a database " * 999], ids=["empty", "text"])
def test_a_file_that_is_no_database(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_refused_and_untouched(file, "is damaged or not a DuckDB file")


def test_a_truncated_database(file: Path) -> None:
    Store(file.parent)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_refused_and_untouched(file, "is damaged or not a DuckDB file")


def test_a_database_with_flipped_bytes_in_its_catalogue(file: Path) -> None:
    Store(file.parent)
    content = bytearray(file.read_bytes())
    for start in range(3 * 4096, len(content), 1024):
        content[start : start + 64] = bytes(byte ^ 0xFF for byte in content[start : start + 64])
    file.write_bytes(content)
    assert_refused_and_untouched(file, "is damaged or not a DuckDB file")


def test_a_database_of_another_program(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE recipes (cake VARCHAR)")
    assert_refused_and_untouched(file, "of another program")


def test_a_database_of_another_program_that_has_a_meta_table_too(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE meta (name VARCHAR)")
    assert_refused_and_untouched(file, "of another program")


def test_another_schema_version(file: Path) -> None:
    Store(file.parent)
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    assert_refused_and_untouched(file, "has schema version 99")


def test_a_folder_in_the_place_of_the_file(file: Path) -> None:
    file.mkdir()
    with pytest.raises(InputError, match="cannot be opened"):
        Store(file.parent, patience=1)


def test_a_workspace_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    with pytest.raises(InputError, match="cannot be used as a folder"):
        Store(tmp_path / "note")


def test_a_log_without_its_database(file: Path) -> None:
    log = file.with_name(file.name + ".wal")
    log.write_bytes(b"pages of a database that is gone")
    with pytest.raises(InputError, match="without its database"):
        Store(file.parent, patience=1)
    assert log.read_bytes() == b"pages of a database that is gone"


def test_a_file_replaced_by_a_foreign_one_while_the_store_is_open(file: Path) -> None:
    store = Store(file.parent)
    file.unlink()
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE recipes (cake VARCHAR)")
    before = file.read_bytes()
    with pytest.raises(InputError, match="of another program"):
        store.drop_parts("k1")
    assert file.read_bytes() == before


def test_the_schema_says_what_every_table_is_for() -> None:
    schema = Path(sys.modules["data.store"].__file__ or "").with_name("schema.sql").read_text()
    lines = schema.splitlines()
    tables = [number for number, line in enumerate(lines) if line.startswith("CREATE TABLE")]
    assert len(tables) >= 10
    assert all(lines[number - 1].startswith("-- ") for number in tables[1:] if "tokens (" not in lines[number])


FILL = """
import resource, signal, sys
import numpy as np, pandas as pd
from pathlib import Path
from data.store import Store
from hooks.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
store.save_part("k1", "small", pd.DataFrame({"value": [0.1, 0.2]}))
room = (Path(sys.argv[1]) / "workbench.duckdb").stat().st_size + 1_000_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    store.save_part("k1", "big", pd.DataFrame({"value": np.random.default_rng(0).normal(size=2_000_000)}))
except InputError as error:
    print(error)
"""


def test_no_room_to_write_is_one_clear_error_and_loses_nothing(file: Path) -> None:
    ended = run_python(FILL, file.parent)
    assert "no space left to write" in ended.stdout, ended.stderr
    store = Store(file.parent)
    small = store.load_part("k1", "small")
    assert small is not None
    assert small["value"].tolist() == [0.1, 0.2]
    assert store.load_part("k1", "big") is None


DIE = """
import os, signal, sys
import pandas as pd
from pathlib import Path
from data.store import Store
store = Store(Path(sys.argv[1]))
for number in range(50):
    store.save_part("k1", str(number), pd.DataFrame({"value": range(1000)}))
    print(number, flush=True)
    if number == 5:
        with store.database.writing() as connection:
            connection.execute("DELETE FROM run_parts")
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_killed_inside_a_transaction_loses_nothing_acknowledged(file: Path) -> None:
    ended = run_python(DIE, file.parent)
    assert ended.returncode == -signal.SIGKILL
    store = Store(file.parent)
    for number in ended.stdout.split():
        part = store.load_part("k1", number)
        assert part is not None
        assert part["value"].tolist() == list(range(1000))
    assert ended.stdout.split() == [str(number) for number in range(6)]


def run_python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script from the repository root in a process of its own."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
