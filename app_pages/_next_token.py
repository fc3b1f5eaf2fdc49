"""Tables of next-token probabilities."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analyses._plots import glyphs

RUNS = ("clean", "corrupted", "patched")


def comparison(frame: pd.DataFrame, roles: dict[int, str], base: str) -> None:
    """Clean, corrupted and patched probabilities of the top tokens as bars; `base` is the run that was patched.

    `roles` says of some token ids what they are in the pair.
    """
    shown = pd.DataFrame({"token": [glyphs(t) for t in frame["token"]], "id": frame["token_id"]})
    shown["role"] = [roles.get(int(number), "") for number in frame["token_id"]]
    for run in RUNS:
        shown[run] = frame[run]
    shown["change"] = frame["patched"] - frame[base]
    columns = {run: _probability(run) for run in RUNS}
    columns["change"] = st.column_config.NumberColumn(f"patched − {base}", format="%+.4f")
    columns["id"] = st.column_config.NumberColumn("id", format="%d", width="small")
    st.dataframe(shown, hide_index=True, column_config=columns, height="content")


def top_tokens(frame: pd.DataFrame) -> None:
    """The most likely next tokens of one distribution: a frame (token, token_id, probability), most likely first."""
    shown = pd.DataFrame({"token": [glyphs(t) for t in frame["token"]], "id": frame["token_id"]})
    shown["probability"] = frame["probability"]
    columns = {"probability": _probability("probability")}
    columns["id"] = st.column_config.NumberColumn("id", format="%d", width="small")
    st.dataframe(shown, hide_index=True, column_config=columns, height="content")


def _probability(label: str) -> Any:
    return st.column_config.ProgressColumn(label, min_value=0.0, max_value=1.0, format="%.4f", color="#6BA3D0")
