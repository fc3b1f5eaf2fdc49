"""What of the tables is drawn: two circuits, a size, and how they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analyses._circuits.scoring import WORDS
from analyses._common import DONE
from analyses._contract import Frames
from analyses.circuit_overlap.sides import KEPT
from hooks.errors import InputError, unknown

if TYPE_CHECKING:
    from analyses.circuit_overlap import CircuitOverlapSpec


def two_of(circuits: pd.DataFrame, spec: CircuitOverlapSpec) -> tuple[str, str]:
    """The two circuits drawn, in the order of the tables. Raises InputError for one that is not there."""
    names = list(dict.fromkeys(circuits["circuit"]))
    for option in ("shown_first", "shown_second"):
        asked = getattr(spec, option)
        if asked is not None and asked not in names:
            raise unknown(f"circuit (option {option})", asked, names)
    if spec.shown_first is not None and spec.shown_first == spec.shown_second:
        raise InputError(f"options shown_first and shown_second are both {spec.shown_first!r}: name two circuits")
    left = [name for name in names if name not in (spec.shown_first, spec.shown_second)]
    first = spec.shown_first or left.pop(0)
    second = spec.shown_second or left.pop(0)
    one, other = sorted((first, second), key=names.index)
    return one, other


def size_of(frames: Frames, spec: CircuitOverlapSpec, first: str, second: str) -> int | None:
    """The size at which two circuits are drawn: the one asked for, or the middle of their grid; None: as kept.

    One that has its own size alone (ACDC's) is drawn at that. Raises InputError for a size that no two circuits have.
    """
    every = sorted({int(size) for size in frames["overlap"]["asked"].dropna()})
    if spec.shown_size is not None and spec.shown_size not in every:
        raise InputError(f"option shown_size {spec.shown_size}: valid are {', '.join(map(str, every))}")
    sizes = sorted({int(size) for size in rows_of(frames["overlap"], first, second)["asked"].dropna()})
    if spec.shown_size in sizes:
        return spec.shown_size
    return sizes[len(sizes) // 2] if sizes else None


def rows_of(frame: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Rows of one comparison."""
    return frame[(frame["first"] == first) & (frame["second"] == second)]


def words_of(frames: Frames, first: str, second: str) -> str:
    """What the two circuits are."""
    return "; ".join(f"{place}: {_told(frames, name)}" for place, name in (("First", first), ("second", second)))


def _told(frames: Frames, name: str) -> str:
    row = frames["circuits"][frames["circuits"]["circuit"] == name].iloc[0]
    kept = [] if row["where"] != KEPT else [f"kept, {row['task']}, {WORDS.get(row['method'], row['method'])}"]
    return ", ".join([name, *kept, *_pairs(row)])


def _pairs(row: pd.Series) -> list[str]:
    """How many pairs, and whether the model does their task."""
    if pd.isna(row["pairs"]):
        return []
    if pd.isna(row["preferred"]):
        return [f"{row['pairs']} pairs"]
    poor = row["preferred"] < DONE * row["pairs"]
    said = f"{row['pairs']} pairs, answer preferred in {row['preferred']}"
    return [f"{said} (this model does not do this task)" if poor else said]


def size_words(size: int | None) -> str:
    return "as kept" if size is None else f"{size} edges chosen"


def at_size(rows: pd.DataFrame, size: int | None) -> pd.DataFrame:
    """Rows of a size; where there are none, of the only size there is, or as kept."""
    sizes = rows["asked"].dropna()
    if size is not None and size in set(sizes):
        return rows[rows["asked"] == size]
    return rows[rows["asked"] == sizes.iloc[0]] if sizes.nunique() == 1 else rows[rows["asked"].isna()]
