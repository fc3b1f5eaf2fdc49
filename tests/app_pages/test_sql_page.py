"""The SQL page shows every value that DuckDB has, and what it cannot answer as one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app_pages import sql as page
from interp.workbench import Workbench


def ask(query: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    bench = Workbench(workspace)
    monkeypatch.setattr(page, "workbench", lambda: bench)

    def script() -> None:
        from app_pages import sql

        sql.page()

    test = AppTest.from_function(script, default_timeout=30)
    test.query_params["q"], test.query_params["go"] = query, "1"
    return test.run()


@pytest.mark.parametrize("query", ["SELECT 'infinity'::DATE AS a", "SELECT * FROM test_all_types()"])
def test_values_outside_of_python_are_shown(query: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = ask(query, workspace, monkeypatch)
    assert not shown.exception
    assert not shown.error
    assert len(shown.dataframe) == 1
    if "infinity" in query:
        assert shown.dataframe[0].value["a"].tolist() == ["infinity"]


@pytest.mark.parametrize(
    ("query", "said"), [("CHECKPOINT", "CHECKPOINT is not allowed"), ("SELECT error('boom')", "SQL failed")]
)
def test_what_cannot_be_answered_is_one_line(
    query: str, said: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ask(query, workspace, monkeypatch)
    assert not shown.exception
    assert len(shown.error) == 1
    assert said in shown.error[0].value


def test_an_error_of_the_system_is_one_line(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_bench: Workbench, query: str, limit: int = 10_000) -> object:
        if query == "SELECT 1":
            raise OSError(5, "Input/output error", "shard")
        return whole(_bench, query, limit)

    whole = Workbench.sql
    monkeypatch.setattr(Workbench, "sql", fails)
    shown = ask("SELECT 1", workspace, monkeypatch)
    assert not shown.exception
    assert "Input/output error" in shown.error[0].value
