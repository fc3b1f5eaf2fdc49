"""A neuron's card in pictures: its words, the prompt, the continuations, and what holding it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import glyphs, lens_table, lines, strip

if TYPE_CHECKING:
    from analyses.neuron_card import CardSpec

NAMES = ("words", "activations", "continuations", "target", "change")
ENDS = {
    ("out", 1): "writes, promotes", ("out", -1): "writes, suppresses", ("in", 1): "reads, for", ("in", -1): "reads, "
    "against", ("gate", 1): "opens on", ("gate", -1): "closes on",
}  # fmt: skip
CONTROLS = "other neurons, as long"


def figures(frames: Frames, spec: CardSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    card = frames["card"].iloc[0]
    name = f"L{card['layer']} N{card['neuron']}"
    return {
        "words": _words(frames["words"], name, spec),
        "activations": _activations(frames["activations"], name),
        "continuations": _continuations(frames, name),
        "target": _curve(
            frames, "log_prob", f"log p({glyphs(str(card['target']))})", f"Next token while {name} is held at a value",
        ),
        "change": _curve(frames, "kl", "KL from the unchanged run", f"Next token's change while {name} is held"),
    }  # fmt: skip


def _words(words: pd.DataFrame, name: str, spec: CardSpec) -> go.Figure:
    kinds = [
        (direction, sign) for direction in dict.fromkeys(words["direction"]) for sign in (1, -1)
    ][::-1]  # fmt: skip
    lines_of = [
        words[(words["direction"] == direction) & (np.sign(words["rank"]) == sign)].sort_values("rank", key=abs)
        for direction, sign in kinds
    ]
    sizes = [rows["z"].abs().tolist() for rows in lines_of]
    norm = "norms' weights taken in" if spec.norm == "final" else "weights as they stand, without the final norm"
    return lens_table(
        np.array(sizes), [[glyphs(token) for token in rows["token"]] for rows in lines_of],
        [str(rank) for rank in range(1, len(sizes[0]) + 1)], [ENDS[kind] for kind in kinds],
        title=f"Tokens of {name}", x_title="place", y_title="", unit="standard deviations",
        legend=f"Shade: distance from the mean over the vocabulary ({norm}); first tokens of random directions reach "
        "4 to 5", limits=(0.0, max(10.0, max(map(max, sizes)))),
    )  # fmt: skip


def _activations(rows: pd.DataFrame, name: str) -> go.Figure:
    share = rows["written"] / rows["residual"]
    return strip(
        list(rows["token"]), list(rows["activation"]), title=f"Activation of {name} in the prompt", unit="activation",
        colours="signed", hovers=[f"writes {one:.3f} of the residual's length" for one in share],
        legend=f"Blue: above 0, red: below. At most {share.max():.3f} of the residual stream's length is its own",
    )  # fmt: skip


def _continuations(frames: Frames, name: str) -> go.Figure:
    """One control a value, the first drawn; all are in the table."""
    clamps, said = frames["clamps"], frames["said"]
    kept = clamps[~clamps.duplicated(["kind", "share"])].iloc[::-1]
    steps = list(range(1, int(said["step"].max()) + 1)) if len(said) else [1]
    z, words, labels = [], [], []
    for row in kept.to_dict("records"):
        mine = said[said["line"] == row["line"]].set_index("step")
        z.append([float(mine["z"].get(step, np.nan)) for step in steps])
        words.append([glyphs(str(mine["token"][step])) if step in mine.index else "" for step in steps])
        labels.append("unchanged" if row["kind"] == "unchanged" else f"{row['kind']} {_signed(row['share'])}")
    finite = [number for line in z for number in line if np.isfinite(number)]
    return lens_table(
        np.maximum(np.array(z), 0.0), words, [str(step) for step in steps], labels,
        title=f"How the model goes on while {name} is held", x_title="new token", y_title="held at (residual lengths)",
        unit="standard deviations", limits=(0.0, max(10.0, max(finite, default=0.0))),
        legend="Numbers: length of what is written, in typical lengths of the residual stream, with its sign. Control: "
        "another neuron of the layer, as long. Shade: how far the token stands out in what the neuron writes",
    )  # fmt: skip


def _signed(share: float) -> str:
    return "0" if share == 0 else f"{share:+.2g}".replace("-", "−")


def _curve(frames: Frames, value: str, what: str, title: str) -> go.Figure:
    clamps = frames["clamps"]
    unchanged = float(clamps.loc[clamps["kind"] == "unchanged", value].iloc[0])
    held = clamps[clamps["kind"] != "unchanged"]
    found = held.groupby(["kind", "share"], sort=False)[value].agg(["mean", "min", "max"]).reset_index()
    found["words"] = found["kind"].map({"neuron": "this neuron", "control": CONTROLS})
    count = int(clamps.loc[clamps["kind"] == "control", "held"].nunique())
    controls = "one control" if count == 1 else f"the mean of {count} controls and the band their whole range"
    end = "" if value == "kl" else f" Unchanged: {unchanged:.2f} nats."
    rows, card = frames["activations"], frames["card"].iloc[0]
    shares = rows["activation"] * card["out_norm"] / card["typical"]
    return lines(
        found, x="share", y="mean", low="min", high="max", group="words", title=title,
        x_title="length written, in typical lengths of the residual stream", y_title=f"{what} (nats)",
        legend=f"One prompt; {controls}.{end} By itself the neuron writes from {_signed(shares.min())} to "
        f"{_signed(shares.max())} in the prompt",
    )  # fmt: skip
