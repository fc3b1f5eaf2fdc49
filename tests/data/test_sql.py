"""The user's SQL reads the workspace and nothing else, within its limits."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from data.store import Store
from hooks.errors import InputError


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a",
        "FROM range(3)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "VALUES (1), (2)",
        "DESCRIBE runs",
        "SHOW TABLES",
        "SUMMARIZE runs",
        "EXPLAIN SELECT * FROM runs",
        "PIVOT (SELECT range AS i, range % 2 AS j FROM range(4)) ON j USING sum(i)",
        "-- a remark\nSELECT 1; -- another",
        "(SELECT 1) UNION ALL (SELECT 2)",
    ],
)
def test_reading_is_allowed(store: Store, sql: str) -> None:
    assert len(store.query(sql)) > 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'https://example.org/data.csv'",
        "SELECT getenv('HOME')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM enable_logging('QueryLog', storage='file', storage_path='/tmp/interp-log')",
        "SELECT * FROM query('DROP TABLE runs')",
        "WITH gone AS (DELETE FROM runs RETURNING key) SELECT * FROM gone",
        "EXPLAIN ANALYZE COPY runs TO '/tmp/interp-runs.csv'",
        "EXPLAIN ANALYZE DELETE FROM runs",
    ],
)
def test_reading_files_and_writing_inside_a_select_are_refused(store: Store, sql: str) -> None:
    with pytest.raises(InputError) as caught:
        store.query(sql)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("COPY (SELECT 1) TO '/tmp/interp.csv'", "COPY"),
        ("COPY runs FROM '/etc/passwd'", "COPY"),
        ("EXPORT DATABASE '/tmp/interp-export'", "EXPORT"),
        ("ATTACH '/tmp/interp.duckdb' AS other", "ATTACH"),
        ("INSTALL httpfs", "INSTALL"),
        ("LOAD httpfs", "LOAD"),
        ("PRAGMA database_list", "PRAGMA"),
        ("SET enable_external_access = true", "SET"),
        ("RESET memory_limit", "RESET"),
        ("CREATE TABLE t (i INTEGER)", "CREATE"),
        ("CREATE TEMP VIEW v AS SELECT 1", "CREATE"),
        ("INSERT INTO meta VALUES ('a', 'b')", "INSERT"),
        ("UPDATE meta SET value = '2'", "UPDATE"),
        ("DELETE FROM meta", "DELETE"),
        ("DROP TABLE runs", "DROP"),
        ("ALTER TABLE runs ADD COLUMN a INTEGER", "ALTER"),
        ("CALL force_checkpoint()", "CALL"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("/* a remark */ FORCE CHECKPOINT", "CHECKPOINT"),
        ("IMPORT DATABASE 'x'", "IMPORT"),
        ("EXECUTE prepared", "EXECUTE"),
        ("UPDATE EXTENSIONS", "UPDATE"),
        ("WITH a AS (SELECT 1) DELETE FROM meta", "DELETE"),
        ("USE memory", "USE"),
        ("-- first\nBEGIN TRANSACTION", "BEGIN"),
    ],
)
def test_other_statements_are_refused_by_the_name_the_user_wrote(store: Store, sql: str, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^{kind} is not allowed, SQL only reads here; valid: one SELECT"):
        store.query(sql)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("", "0 SQL statements"),
        ("-- nothing", "0 SQL statements"),
        ("SELECT 1; SELECT 2", "2 SQL statements"),
        ("SELECT 1; DROP TABLE runs", "2 SQL statements"),
        ("SELEC 1", "SQL not understood: Parser Error: syntax error at or near"),
        ("SELECT * FROM run", "Table with name run does not exist"),
        ("SELECT nothing FROM runs", 'column "nothing" not found'),
        ("SELECT 'a'::INTEGER", "Could not convert string 'a'"),
        ("SELECT unheard_of(1)", "unheard_of does not exist"),
    ],
)
def test_wrong_sql_is_one_clear_line(store: Store, sql: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        store.query(sql)
    assert says.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_python_variables_are_not_tables(store: Store) -> None:
    local_frame = pd.DataFrame({"secret": [1]})
    with pytest.raises(InputError, match="local_frame does not exist"):
        store.query("SELECT * FROM local_frame")
    assert len(local_frame) == 1


def test_nothing_that_was_refused_left_a_trace(store: Store) -> None:
    before = store.database.path.read_bytes()
    for sql in ("DROP TABLE runs", "SELECT * FROM query('DROP TABLE runs')", "SELECT * FROM checkpoint()"):
        try:
            store.query(sql)
        except InputError:
            continue
    assert store.database.path.read_bytes() == before


def test_the_limit_cuts_and_says_so(store: Store) -> None:
    cut = store.query("SELECT range AS i FROM range(1_000_000_000_000)", limit=5)
    assert cut["i"].tolist() == [0, 1, 2, 3, 4]
    assert cut.attrs["cut"] is True
    whole = store.query("SELECT range AS i FROM range(5)", limit=5)
    assert len(whole) == 5
    assert whole.attrs["cut"] is False
    assert store.query("SELECT 1 AS a WHERE false").columns.tolist() == ["a"]


@pytest.mark.parametrize(("limit", "timeout_s"), [(0, 1.0), (-1, 1.0), (1, 0.0)])
def test_limits_must_be_positive(store: Store, limit: int, timeout_s: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        store.query("SELECT 1", limit=limit, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b",
        "SELECT * FROM range(100_000_000_000) r(i) WHERE i < 0",
    ],
    ids=["computing", "streaming"],
)
def test_a_query_that_takes_too_long_is_stopped(store: Store, sql: str) -> None:
    with pytest.raises(InputError, match=r"stopped after 0\.3 s"):
        store.query(sql, timeout_s=0.3)
    assert store.query("SELECT 1 AS a")["a"].tolist() == [1]


def test_nulls_and_nan_and_types_are_told_apart(store: Store) -> None:
    found = store.query(
        "SELECT * FROM (VALUES (1, 0.5::DOUBLE, true, 'x'), (NULL, 'nan'::DOUBLE, NULL, NULL), (3, NULL, false, 'y')) "
        "AS t(whole, number, truth, word)"
    )
    assert found["whole"].dtype == "Int32"
    assert found["whole"].isna().tolist() == [False, True, False]
    assert found["number"].dtype == "Float64"
    assert found["number"].isna().tolist() == [False, False, True]
    assert math.isnan(found["number"][1])
    assert found["truth"].dtype == "boolean"
    totals = store.query("SELECT sum(range) AS total, count(*) AS n, 1.5::DECIMAL(4, 1) AS d, 1 AS d FROM range(4)")
    assert totals["total"].dtype == "int64"
    assert totals.columns.tolist() == ["total", "n", "d", "d_1"]
    assert totals["d"].tolist() == [1.5]
