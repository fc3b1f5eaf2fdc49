"""The future lens' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analyses._columns import bounds
from analyses._contract import Column
from analyses._trained_lenses.keeping import Key
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.rows import Rows
from analyses._trained_lenses.scoring import ABOUT, CURVES, interval_of
from analyses._trained_lenses.translators import Affine
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

EMBED = -1
"""In computing, the layer whose state is the embedding; NULL in frames."""
LENS, EMBEDDING, BIGRAM, UNIGRAM = "future lens", "embedding", "bigram", "unigram"
TEXTS = ["layer", "offset", "lens", "text", "positions", "precision", "kl"]


def scores_table(texts: pd.DataFrame) -> pd.DataFrame:
    """Means over texts of each layer, offset and way, and how much more precise than the bigram."""
    rows = []
    for (layer, offset, lens), part in texts.groupby(["layer", "offset", "lens"], sort=False):
        other = texts[(texts["lens"] == BIGRAM) & (texts["offset"] == offset)].set_index("text")["precision"]
        row = {"layer": None if layer == EMBED else layer, "offset": offset, "lens": lens}
        row |= interval_of("precision", part["precision"])
        if len(other) and lens != BIGRAM:
            row |= interval_of("gain", part["precision"].to_numpy() - other.reindex(part["text"]).to_numpy())
        else:
            row |= dict.fromkeys(("gain", "gain_low", "gain_high"), float("nan"))
        kl = float(part["kl"].mean()) if part["kl"].notna().all() else float("nan")
        rows.append(row | {"kl": kl, "texts": len(part), "positions": int(part["positions"].sum())})
    frame = pd.DataFrame(rows)
    return frame.assign(layer=frame["layer"].astype("Int64"))[[column.name for column in COLUMNS["scores"]]]


def curves_table(curves: pd.DataFrame | None) -> pd.DataFrame:
    """The fits' curves; empty for a kept lens."""
    names = [column.name for column in COLUMNS["curves"]]
    if curves is None:
        empty = pd.DataFrame(columns=names).astype({"offset": int, "step": int, "fitted": float, "checked": float})
        return empty.assign(layer=empty["layer"].astype("Int64"))[names]
    return curves.assign(layer=curves["layer"].astype("Int64").mask(curves["layer"] == EMBED))[names]


def ahead_table(
    model: Model, readout: Readout, ids: Sequence[int], rows: Rows, lenses: Mapping[Key, Affine], most: int
) -> pd.DataFrame:
    """At the end of one text: what each layer's state says of each token ahead, beside what the model writes."""
    last, found = len(ids) - 1, []
    for (layer, offset), lens in sorted(lenses.items()):
        if offset > most:
            continue
        x = rows.states[Site(layer, "resid_post")][last : last + 1]
        finals = rows.finals[last + offset - 1 : last + offset]
        seen = readout.read(lens(0.0, x), finals)  # type: ignore[arg-type]
        own = readout.read(finals, finals)
        assert seen.kl is not None
        top, written = int(seen.top_ids[0, 0]), int(own.top_ids[0, 0])
        found.append((layer, offset, *model.str_tokens([top]), top, float(seen.top_log_probs[0, 0].double().exp()),
                      *model.str_tokens([written]), written, float(own.top_log_probs[0, 0].double().exp()),
                      max(float(seen.kl[0]), 0.0), *model.str_tokens([ids[-1]])))  # fmt: skip
    return pd.DataFrame(found, columns=[column.name for column in COLUMNS["ahead"]])


_WHERE = (
    Column("layer", "", "layer whose output is read; NULL: none is"),
    Column("offset", "tokens", "how far ahead; 1 is the next token"),
)
_WAY = Column(
    "lens", "", f"{LENS}; {EMBEDDING}: the same map of the embedding alone; {BIGRAM}: what followed this token most "
    f"often so far ahead, while fitting; {UNIGRAM}: what stood there most often",
)  # fmt: skip
COLUMNS = {
    "scores": (
        *_WHERE,
        _WAY,
        Column("precision", "fraction", "tokens ahead that are named, mean over positions of a text, then over texts"),
        *bounds("fraction", "precision"),
        Column("gain", "fraction", f"precision above the {BIGRAM}'s, paired by text; missing without one"),
        *bounds("fraction", "gain"),
        Column("kl", "nats", "mean KL(model's output so far ahead ‖ lens); missing for counts"),
        Column("texts", "count", "texts behind the row"),
        Column("positions", "count", "positions of them"),
    ),
    "texts": (
        *_WHERE,
        Column("lens", "", "what names the token"),
        Column("text", "", "number of the text, from 0, equal texts counted once"),
        Column("positions", "count", "its positions that are read"),
        Column("precision", "fraction", "of them whose token ahead is named"),
        Column("kl", "nats", "KL(model's output so far ahead ‖ lens), mean over them"),
    ),
    "curves": (*_WHERE, *CURVES),
    "ahead": (
        *_WHERE,
        Column("top", "", "token that the lens finds most likely so far ahead"),
        Column("top_id", "", "its id"),
        Column("probability", "fraction", "its probability"),
        Column("written", "", "token that the model writes there"),
        Column("written_id", "", "its id"),
        Column("written_probability", "fraction", "its probability by the model, once what is before it is written"),
        Column("kl", "nats", "KL(model's output so far ahead ‖ lens)"),
        Column("token", "", "the text's last token, whose state is read"),
    ),
    "about": ABOUT,
}
