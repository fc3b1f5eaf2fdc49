"""Circuit overlap's pictures: edges and heads in common by size, shares, ranks, all circuits at once, and the heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import grouped_bars, lines, scatter, sequential_heatmap
from analyses.circuit_overlap.choosing import at_size, rows_of, size_of, size_words, two_of, words_of
from analyses.circuit_overlap.tables import ALL, EITHER

if TYPE_CHECKING:
    from analyses.circuit_overlap import CircuitOverlapSpec

NAMES = ("edges", "heads", "shares", "ranks", "matrix", "members")
FOUND, NOTHING = "all pairs", "nothing to compare"
ARMS = (("mean", "low", "high", FOUND), ("halves", None, None, "halves of one and the other"),
        ("ceiling_first", None, None, "two halves of the first"),
        ("ceiling_second", None, None, "two halves of the second"))  # fmt: skip
RANDOM = (("random", "random_low", "random_high", "random circuits"),)
SETS = (("sets", "sets_low", "sets_high", "random heads"),)
SHUFFLED = (("shuffled", "shuffled_low", "shuffled_high", "scores dealt out anew"),)


def figures(frames: Frames, spec: CircuitOverlapSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    first, second = two_of(frames["circuits"], spec)
    size = size_of(frames, spec, first, second)
    said = words_of(frames, first, second)
    return {
        "edges": _curve(frames, first, second, "edges", (*ARMS, *RANDOM), said),
        "heads": _curve(frames, first, second, "heads", (*ARMS, *RANDOM, *SETS), said),
        "shares": _shares(frames, first, second, size, said),
        "ranks": _ranks(frames, first, second, said),
        "matrix": _matrix(frames, size),
        "members": _members(frames, first, second, size),
    }


def _long(rows: pd.DataFrame, arms: tuple[tuple[str, str | None, str | None, str], ...]) -> pd.DataFrame:
    """place, arm, value, low, high: one line an arm over the sizes; what is missing everywhere is left out."""
    parts = []
    for value, low, high, name in arms:
        part = pd.DataFrame({
            "place": range(len(rows)), "arm": name, "value": rows[value].to_numpy(dtype=float),
            "low": rows[low or value].to_numpy(dtype=float), "high": rows[high or value].to_numpy(dtype=float),
        })  # fmt: skip
        parts.append(part[np.isfinite(part["value"])])
    nothing = pd.DataFrame({"place": [0], "arm": [NOTHING], "value": [np.nan], "low": [np.nan], "high": [np.nan]})
    return pd.concat([part for part in parts if len(part)] or [nothing], ignore_index=True)


def _curve(
    frames: Frames, first: str, second: str, what: str,
    arms: tuple[tuple[str, str | None, str | None, str], ...], said: str,
) -> go.Figure:  # fmt: skip
    rows = rows_of(frames["overlap"], first, second)
    rows = rows[(rows["what"] == what) & (rows["measure"] == "Jaccard")].sort_values("asked", na_position="last")
    return lines(
        _long(rows, arms), x="place", y="value", low="low", high="high", group="arm",
        x_labels=_labels(rows), title=f"{what.capitalize()} that two circuits share", x_title="edges chosen",
        y_title=f"{what} in both / in either",
        legend=f"{said}. Band of “{FOUND}”: 95% interval over pairs; of random ones: middle 95% of draws. Halves have "
        "half of the pairs, never the same: compare them with one another",
    )  # fmt: skip


def _labels(rows: pd.DataFrame) -> list[str]:
    return ["as kept" if pd.isna(size) else f"{int(size)}" for size in rows["asked"]]


def _shares(frames: Frames, first: str, second: str, size: int | None, said: str) -> go.Figure:
    rows = rows_of(frames["overlap"], first, second)
    rows = at_size(rows, size)
    rows = rows[rows["measure"] != "Jaccard"]
    parts = []
    for value, low, high, name in (("mean", "low", "high", "found"), RANDOM[0], SETS[0]):
        part = rows.assign(arm=name.replace("heads", "sets"), value=rows[value], lower=rows[low], upper=rows[high])
        parts.append(part if name == "found" else part[part["value"].notna()])
    every = pd.concat(parts, ignore_index=True)
    words = {"share of first": "first", "share of second": "second"}
    every["place"] = [f"{what} of {words[measure]}" for what, measure in
                      zip(every["what"], every["measure"], strict=True)]  # fmt: skip
    return grouped_bars(
        every, x="place", group="arm", value="value", low="lower", high="upper",
        title=f"Share of a circuit that is in the other, {size_words(size)}", x_title="share of what",
        y_title="share",
        legend=f"{said}. Denominator: all edges, nodes (heads and MLPs) or heads of the circuit named. Bars: 95% "
        "interval over pairs; of random ones the middle 95% of draws",
    )  # fmt: skip


def _ranks(frames: Frames, first: str, second: str, said: str) -> go.Figure:
    rows = rows_of(frames["ranks"], first, second)
    rows = rows[rows["measure"] == "size of the score"]
    rows = pd.concat([rows[rows["over"] == EITHER].sort_values("asked"), rows[rows["over"] == ALL]])
    labels = [*(f"{int(size)}" for size in rows["asked"].dropna()), "all"]
    return lines(
        _long(rows, (*ARMS, *SHUFFLED)), x="place", y="value", low="low", high="high", group="arm", x_labels=labels,
        title="Rank correlation of two circuits' |scores|", x_title="edges of either circuit, by edges chosen",
        y_title="Spearman's correlation",
        legend=f"{said}. “All”: over every edge of the model. Edges of either circuit were chosen by one of the two "
        "scores, so unrelated scores are not at 0 there: see the scores dealt out anew",
    )  # fmt: skip


def _matrix(frames: Frames, size: int | None) -> go.Figure:
    """Any two circuits: below the diagonal of all pairs; on it and above, where like compares with like, of halves."""
    names = list(dict.fromkeys(frames["circuits"]["circuit"]))
    values, low, high = (np.full((len(names), len(names)), np.nan) for _ in range(3))
    rows = frames["overlap"]
    rows = rows[(rows["what"] == "edges") & (rows["measure"] == "Jaccard")]
    for (first, second), pair in rows.groupby(["first", "second"], sort=False):
        one = at_size(pair, size).iloc[0]
        at, there = names.index(first), names.index(second)
        values[there, at], low[there, at], high[there, at] = one["mean"], one["low"], one["high"]
        values[at, there], values[at, at], values[there, there] = (
            one[name] for name in ("halves", "ceiling_first", "ceiling_second")
        )
    numbers = [str(at + 1) for at in range(len(names))]
    return sequential_heatmap(
        values, numbers, [f"{at} {name}" for at, name in zip(numbers, names, strict=True)], mask=np.isnan(values),
        low=low, high=high, limits=(0.0, 1.0), upside_down=True, title=f"Edges shared, {size_words(size)}",
        x_title="circuit", y_title="", unit="Jaccard",
        legend="Below the diagonal: circuits of all pairs. On it: two halves of one circuit's pairs. Above it: halves "
        "of two, never of the same pairs; these compare with the diagonal. White: not known, or no circuit of a half",
    )  # fmt: skip


def _members(frames: Frames, first: str, second: str, size: int | None) -> go.Figure:
    """Where the heads are that both have, and those that one has."""
    members = frames["members"]
    members = members[members["kind"] == "head"]
    held = [set(zip(rows["layer"], rows["head"], strict=True)) for rows in
            (at_size(members[members["circuit"] == name], size) for name in (first, second))]  # fmt: skip
    groups = (("in both", held[0] & held[1]), ("first only", held[0] - held[1]), ("second only", held[1] - held[0]))
    points = [(int(layer), int(head), f"L{layer}H{head}", f"{words} ({len(heads)})")
              for words, heads in groups for layer, head in sorted(heads)]  # fmt: skip
    drawn = pd.DataFrame(points or [(0, 0, "none", "no heads")], columns=["layer", "head", "name", "group"])
    figure = scatter(
        drawn, x="head", y="layer", group="group", label="name", labelled=0, correlation=False,
        title=f"Heads of two circuits, {size_words(size)}", x_title="head", y_title="layer",
        legend=words_of(frames, first, second),
    )  # fmt: skip
    return figure.update_xaxes(dtick=1 if drawn["head"].max() < 20 else None, zeroline=False)
