"""Answers of SQL on the command line: NULL, NaN, infinities and texts that say so stay apart, lists stay lists."""

from __future__ import annotations

import json

import pytest

from tests.interp.conftest import Terminal

VALUES = (
    "SELECT * FROM (VALUES (1.5::DOUBLE, 'a', 1), (NULL, NULL, NULL), ('nan', 'NaN', 3), ('inf', 'NULL', 4), "
    "('-inf', '', 5)) AS t(number, word, whole)"
)


def test_json_tells_null_nan_and_infinity_apart(interp: Terminal) -> None:
    rows = json.loads(interp("sql", VALUES, "--json").stdout)
    assert [row["number"] for row in rows] == [1.5, None, "NaN", "Infinity", "-Infinity"]
    assert [row["word"] for row in rows] == ["a", None, "NaN", "NULL", ""]
    assert [row["whole"] for row in rows] == [1, None, 3, 4, 5]


def test_a_table_says_null(interp: Terminal) -> None:
    lines = interp("sql", VALUES).stdout.splitlines()
    assert lines[2].split() == ["NULL", "NULL", "NULL"]
    assert lines[3].split() == ["NaN", "NaN", "3"]


def test_nested_values_and_bytes_are_json_not_python(interp: Terminal) -> None:
    sql = (
        "SELECT [1.0::DOUBLE, NULL, 'nan'] AS l, [1, 2] AS w, {'a': 1, 'b': [NULL::INTEGER]} AS s, "
        "'\\xAA'::BLOB AS b, INTERVAL 1 DAY AS i, 'infinity'::DATE AS d"
    )
    assert json.loads(interp("sql", sql, "--json").stdout) == [
        {"l": [1.0, None, "NaN"], "w": [1, 2], "s": {"a": 1, "b": [None]}, "b": "\\xAA", "i": "1 day", "d": "infinity"}
    ]
    table = interp("sql", sql).stdout
    assert '[1.0, null, "NaN"]' in table
    assert "1 day" in table


@pytest.mark.parametrize("query", ["-- a remark\nSELECT 1 AS a", "--a remark=1\nSELECT 1 AS a"])
def test_a_query_may_begin_with_a_remark(interp: Terminal, query: str) -> None:
    assert json.loads(interp("sql", query, "--json", "--limit", "3").stdout) == [{"a": 1}]
    assert json.loads(interp("sql", "--json", "--", query).stdout) == [{"a": 1}]


def test_no_rows_are_said(interp: Terminal) -> None:
    assert interp("sql", "SELECT 1 AS a WHERE false").stdout == "no rows\n"
    assert interp("sql", "SELECT 1 AS a WHERE false", "--json").stdout == "[]\n"
