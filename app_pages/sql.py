"""SQL: read-only questions to everything in the workspace."""

from __future__ import annotations

import shlex
import time

import pandas as pd
import streamlit as st

from app_pages._bench import tell, workbench
from app_pages._state import State, open_page
from app_pages._text import html, plain
from hooks.errors import InputError

LIMIT = 10_000
EXAMPLES = {
    "Runs by analysis and outcome": "SELECT analysis, status, count(*) AS runs, sum(seconds) AS seconds\n"
    "FROM runs GROUP BY ALL ORDER BY runs DESC",
    "Strongest patching cells": "SELECT run, site, layer, head, position, token, effect\n"
    "FROM activation_patching__cells WHERE metric = 'recovery'\nORDER BY abs(effect) DESC LIMIT 20",
    "Logit lens: rank of each target by layer": "SELECT target, layer, avg(rank) AS mean_rank\n"
    "FROM logit_lens__targets GROUP BY ALL ORDER BY target, layer",
    "Models used": "SELECT name, dtype, quantisation, revision FROM models",
    "Tokens captured": "SELECT token, count(*) AS seen FROM tokens GROUP BY token ORDER BY seen DESC LIMIT 50",
}
_TABLES = """SELECT table_name,
  string_agg(column_name || ' ' || lower(data_type), ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns GROUP BY table_name ORDER BY table_name"""


def page() -> None:
    """The query box, what can be asked about, and the answer."""
    state = open_page("sql")
    html("")
    st.header("SQL")
    st.markdown(
        "Read-only DuckDB SQL over runs, results, captures and tokens. Nothing asked here can change or read a file."
    )
    left, right = st.columns([5, 3], gap="large")
    with left:
        _examples(state)
        start = str(state.get("q", EXAMPLES["Runs by analysis and outcome"]))
        text = st.text_area("Query", key=state.seeded("q", start), height=150)
        run = st.button("Run query", type="primary", icon=":material/play_arrow:")
        if run:
            state.set("asked", text)
    with right:
        _schema()
    state.set("q", text)
    if state.get("asked") or (state.get("go") == "1"):
        _answer(state, str(state.get("asked") or text))
        state.set("go", "1")
    st.code(shlex.join(["interp", "sql", text]), language="bash", wrap_lines=True)
    state.publish("q", "go")


def _examples(state: State) -> None:
    def use() -> None:
        picked = st.session_state[state.key("example")]
        if picked:
            st.session_state[state.key("q")] = EXAMPLES[picked]
            state.set("asked", EXAMPLES[picked])

    st.selectbox(
        "Examples", list(EXAMPLES), index=None, placeholder="take an example", key=state.key("example"), on_change=use
    )


def _schema() -> None:
    """Every table and its columns."""
    try:
        tables = workbench().sql(_TABLES)
    except InputError as error:
        tell(error)
        return
    st.markdown(f"**{len(tables)} tables**")
    with st.container(height=290, border=True):
        for name, columns in zip(tables["table_name"], tables["columns"], strict=True):
            st.markdown(f"`{name}`  \n:gray[:small[{plain(columns)}]]")


def _answer(state: State, text: str) -> None:
    started = time.perf_counter()
    try:
        with st.spinner("asking the store"):
            answer = workbench().sql(text, limit=LIMIT)
    except (InputError, OSError) as error:
        tell(error)
        return
    took = time.perf_counter() - started
    cut = f", the first {LIMIT:,} only" if answer.attrs.get("cut") else ""
    st.caption(f"{len(answer):,} rows{cut}, {len(answer.columns)} columns, {took * 1000:.0f} ms")
    answer.attrs = {}
    st.dataframe(answer, hide_index=True, height=min(460, 38 + 35 * max(1, len(answer))))
    _download(state, answer)


def _download(state: State, answer: pd.DataFrame) -> None:
    st.download_button(
        "CSV",
        lambda: answer.to_csv(index=False, lineterminator="\n").encode("utf-8", "surrogatepass"),
        file_name="query.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=state.key("csv"),
    )
