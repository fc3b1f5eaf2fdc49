"""The neuron reader's pictures: neurons of a token, how words stand out by layer, common words, agreement."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import bars, glyphs, lines
from analyses.neuron_reader.tables import SIDES

if TYPE_CHECKING:
    from analyses.neuron_reader import ReaderSpec

WORDS = {"out": "out: what it writes", "in": "in: what it reads", "gate": "gate: what opens it", "random": "random"}
MARK = {"out": "writes", "in": "reads", "gate": "opens on"}


def names(spec: ReaderSpec) -> tuple[str, ...]:
    """The pictures that there are."""
    return ("search", "layers", "common_words", *(("agreement",) if spec.other is not None else ()))


def figures(frames: Frames, spec: ReaderSpec) -> dict[str, go.Figure]:
    """Every picture, by name."""
    drawn = {
        "search": _search(frames["words"], spec),
        "layers": _layers(frames["layers"], spec),
        "common_words": _common(frames["words"], spec),
    }
    return drawn | ({"agreement": _agreement(frames, spec)} if spec.other is not None else {})


def found(words: pd.DataFrame, spec: ReaderSpec) -> pd.DataFrame:
    """The rows of the index that the display options ask for, those that stand out most first."""
    sign = {side: number for number, side in SIDES.items()}[spec.side]
    rows = words[words["rank"] * sign > 0]
    if spec.look_in != "any":
        rows = rows[rows["direction"] == spec.look_in]
    if spec.token is None:
        rows = rows[rows["rank"] == sign]
    elif spec.alike:
        known = rows["token"].drop_duplicates()
        rows = rows[rows["token"].isin(known[known.map(_plain) == _plain(spec.token)])]
    else:
        rows = rows[rows["token"] == spec.token]
    return rows.assign(size=rows["z"].abs()).sort_values("size", ascending=False, kind="stable")


def _plain(token: str) -> str:
    """A token without its spaces and cases; of spaces alone, themselves."""
    return token.strip().casefold() or token


def _search(words: pd.DataFrame, spec: ReaderSpec) -> go.Figure:
    rows = found(words, spec).drop_duplicates(["layer", "neuron", "direction"])  # of a direction its first
    shown = rows.head(spec.hits)
    labels = [_label(row) for row in shown.to_dict("records")]
    most = int(words["rank"].max())
    if spec.token is None:
        title = f"Neurons whose most {spec.side} token stands out most"
        legend = "No token was asked for: option token picks neurons by one"
    else:
        title = f"Neurons that have {glyphs(spec.token)} among their {most} most {spec.side} tokens"
        alike = ", written with or without a space or capitals" if spec.alike else ""
        legend = f"{len(rows)} directions have it{alike}" + ("" if len(rows) else "; no bar to draw")
    if len(shown) < len(rows):
        legend += f"; the first {len(shown)} are drawn"
    return bars(
        shown.assign(label=labels), label="label", value="z", title=title, y_title="",
        unit="standard deviations from the mean over the vocabulary",
        legend=f"{legend}.{' #2: its second.' if (shown['rank'].abs() > 1).any() else ''} {_norm(spec)}",
    )  # fmt: skip


def _label(row: Mapping[Hashable, Any]) -> str:
    place = f" #{abs(row['rank'])}" if abs(row["rank"]) > 1 else ""
    return f"L{row['layer']} N{row['neuron']} {MARK[row['direction']]} {glyphs(row['token'])}{place}"


def _norm(spec: ReaderSpec) -> str:
    return (
        "The norms' weights are taken in" if spec.norm == "final" else "Weights as they stand, without the final norm"
    )


def _layers(table: pd.DataFrame, spec: ReaderSpec) -> go.Figure:
    random = table[table["direction"] == "random"]
    rows = table[table["layer"].notna()].assign(words=lambda frame: frame["direction"].map(WORDS))
    level = [random.assign(layer=end, words="random directions") for end in sorted({*rows["layer"].iloc[[0, -1]]})]
    shown = pd.concat([rows, *level], ignore_index=True)
    medians = f"{rows['z'].median():.2f} and {float(random['z'].iloc[0]):.2f} standard deviations above the mean token"
    return lines(
        shown.assign(layer=shown["layer"].astype(int)), x="layer", y="beyond", group="words",
        title="Neurons whose most promoted token stands out more than chance", x_title="layer",
        y_title="share of neurons",
        legend="Share whose first token stands out more than in 99% of random directions, which reach 0.01. Medians "
        f"of neurons and of random directions: {medians}. {_norm(spec)}",
    )  # fmt: skip


def _common(words: pd.DataFrame, spec: ReaderSpec) -> go.Figure:
    """Tokens that many neurons share say little about one of them."""
    sign = {side: number for number, side in SIDES.items()}[spec.side]
    rows = words[words["rank"] == sign]
    rows = rows if spec.look_in == "any" else rows[rows["direction"] == spec.look_in]
    counts = rows.groupby(["token", "token_id"], sort=False).size().sort_values(ascending=False, kind="stable")
    shown = counts.head(spec.hits).reset_index(name="neurons")
    return bars(
        shown.assign(label=shown["token"].map(glyphs) + " (" + shown["token_id"].astype(str) + ")"),
        label="label", value="neurons", unit="directions that have it first",
        title=f"Tokens that are most {spec.side} by many neurons",
        legend=f"{len(counts):,} different first tokens of {len(rows):,} directions. A token that many share says "
        f"little about one of them. {_norm(spec)}",
    )  # fmt: skip


def _agreement(frames: Frames, spec: ReaderSpec) -> go.Figure:
    table, cosine = frames["agreement"], float(frames["weights"]["cosine"].median())
    here = table[table["side"] == spec.side]
    rows = here[here["layer"].notna()]
    level = [
        rows.assign(share=rows["same_top"], words=rows["direction"].map(WORDS)),
        rows.assign(share=rows["chance"], words="chance, " + rows["direction"]),
    ]
    shown = pd.concat(level, ignore_index=True)
    whole = here[here["layer"].isna()]
    said = "; ".join(
        f"{row.direction} {row.same_top:.3g} (chance {row.chance:.2g})" for row in whole.itertuples(index=False)
    )
    figure = lines(
        shown.assign(layer=shown["layer"].astype(int)), x="layer", y="share", group="words",
        title=f"Neurons with the same most {spec.side} token in {spec.other}", x_title="layer",
        y_title="share of neurons",
        legend=f"All layers: {said}. Chance: neurons paired at random. Median cosine of the weights themselves: "
        f"{cosine:.6f}. {_norm(spec)}",
    )  # fmt: skip
    figure.update_yaxes(range=[-0.02, 1.02])  # none and all look like none and all
    return figure
