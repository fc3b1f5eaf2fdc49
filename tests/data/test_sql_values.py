"""Every value that SQL can answer with comes back: exact, or as DuckDB writes it, and a NULL is always a NULL."""

from __future__ import annotations

import pandas as pd
import pytest

from data.store import Store
from hooks.errors import InputError


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("'infinity'::DATE", "infinity"),
        ("'-infinity'::TIMESTAMP", "-infinity"),
        ("'5881580-07-10'::DATE", "5881580-07-10"),
        ("'2026-01-02'::DATE", "2026-01-02"),
        ("'24:00:00'::TIME", "24:00:00"),
        ("INTERVAL 1 DAY", "1 day"),
        ("'\\xAA'::BLOB", "\\xAA"),
        ("['infinity'::DATE, NULL]", "[infinity, NULL]"),
        ("MAP {'a': 1}", "{a=1}"),
        ("340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
    ],
)
def test_values_that_python_has_no_exact_type_for_come_as_text(store: Store, sql: str, text: str) -> None:
    found = store.query(f"SELECT {sql} AS a, 7 AS b")
    assert found["a"].tolist() == [text]
    assert found["b"].tolist() == [7]


def test_every_type_duckdb_has_can_be_answered(store: Store) -> None:
    found = store.query("SELECT * FROM test_all_types()")
    assert found.shape[0] == 3
    assert found.shape[1] > 40
    assert found.iloc[2].isna().all(), "the third row of each type is NULL"


def test_a_text_null_is_none_and_never_nan(store: Store) -> None:
    found = store.query("SELECT * FROM (VALUES ('x'), (NULL), ('NaN')) AS t(word)")
    assert found["word"].tolist() == ["x", None, "NaN"]
    assert found["word"][1] is None


def test_lists_keep_their_nulls_and_nan(store: Store) -> None:
    found = store.query(
        "SELECT ['nan'::DOUBLE, NULL, 1.5] AS a, [1, 2] AS b, {'k': NULL::INTEGER} AS c, NULL::FLOAT[] AS d"
    )
    assert pd.isna(found["a"][0][0])
    assert found["a"][0][1] is None
    assert list(found["b"][0]) == [1, 2]
    assert found["c"][0] == {"k": None}
    assert found["d"][0] is None


def test_order_and_names_survive_values_cast_to_text(store: Store) -> None:
    found = store.query(
        "SELECT i, to_days(1 + i::INTEGER) AS i, 1 + i AS j FROM range(20_000) t(i) ORDER BY hash(i)", limit=20_000
    )
    plain = store.query("SELECT i FROM range(20_000) t(i) ORDER BY hash(i)", limit=20_000)
    assert found.columns.tolist() == ["i", "i_1", "j"]
    assert found["i"].tolist() == plain["i"].tolist()
    assert found["i_1"][0].split()[0] == str(found["j"][0])


def test_an_error_in_the_middle_of_a_stream_is_one_clear_line(store: Store) -> None:
    sql = "SELECT CASE WHEN i = 50000 THEN error('boom') ELSE i::VARCHAR END FROM range(100000) t(i)"
    with pytest.raises(InputError, match=r"^SQL failed: .*boom$"):
        store.query(sql, limit=100_000)
