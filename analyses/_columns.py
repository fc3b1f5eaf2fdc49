"""Declarations that tables share: an interval's columns, and a frame without rows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses._contract import Column


def bounds(unit: str, of: str = "", over: str = "texts") -> tuple[Column, Column]:
    """Columns low and high of the column before them, of `of` where several are told; `over` is what vary."""
    names = ("low", "high") if not of else (f"{of}_low", f"{of}_high")
    words = f"lower end of its 95% interval over {over}; missing for one {over.removesuffix('s')}"
    return Column(names[0], unit, words), Column(names[1], unit, "upper end")


def no_rows(columns: Sequence[Column], **types: str) -> pd.DataFrame:
    """A frame of these columns without rows, of these types, else text: the first run decides a store's columns."""
    return pd.DataFrame({one.name: pd.Series(dtype=types.get(one.name, "str")) for one in columns})
