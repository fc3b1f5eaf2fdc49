"""Tables of next-token probabilities."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analyses._plots import glyphs

RUNS = ("clean", "corrupted", "patched")


def comparison(frame: pd.DataFrame, named: dict[str, int]) -> None:
    """Clean, corrupted and patched probabilities of the top tokens as bars; `named` ids are told in a column."""
    roles = {number: role for role, number in named.items()}
    shown = pd.DataFrame({"token": [glyphs(t) for t in frame["token"]], "id": frame["token_id"]})
    shown["role"] = [roles.get(int(number), "") for number in frame["token_id"]]
    for run in RUNS:
        shown[run] = frame[run]
    shown["change"] = frame["patched"] - frame["corrupted"]
    columns = {run: _probability(run) for run in RUNS}
    columns["change"] = st.column_config.NumberColumn("patched − corrupted", format="%+.4f")
    columns["id"] = st.column_config.NumberColumn("id", format="%d", width="small")
    st.dataframe(shown, hide_index=True, column_config=columns, height="content")


def top_tokens(tokens: list[str], ids: list[int], probabilities: list[float]) -> None:
    """The most likely next tokens with their probabilities."""
    shown = pd.DataFrame({"token": [glyphs(t) for t in tokens], "id": ids, "probability": probabilities})
    columns = {"probability": _probability("probability")}
    columns["id"] = st.column_config.NumberColumn("id", format="%d", width="small")
    st.dataframe(shown, hide_index=True, column_config=columns, height="content")


def _probability(label: str) -> st.column_config.Column:
    return st.column_config.ProgressColumn(label, min_value=0.0, max_value=1.0, format="%.4f", color="#6BA3D0")
