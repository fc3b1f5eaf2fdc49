"""The table of latents, and the card of one of them, drawn from the tables alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import bars, fit, glyphs, histogram, lens_table, strip, template
from analyses._plots.tokens import elide
from analyses.feature_browser.asked import asked_figure
from analyses.feature_browser.choosing import chosen_latent, listed

if TYPE_CHECKING:
    from analyses.feature_browser import BrowserSpec

NAMES, ASKED = ("latents", "contexts", "activations", "effects", "neighbours", "together", "own"), "asked"
SHADED = (("density", "density"), ("norm", "norm"), ("largest", "largest"), ("auroc", "label AUROC"))
ALIKE, LABEL = 1e-3, 30
"""Share by which lengths differ at most where a column of them says nothing; characters of a label in the table."""
BEFORE, AFTER = 8, 3
"""Tokens of a context that are drawn before and after its own; the table has more."""
WORDED = (("top_token", "activates on"), ("promoted", "promotes"), ("suppressed", "suppresses"))


def figures(frames: Frames, spec: BrowserSpec) -> dict[str, go.Figure]:
    """Every picture of `NAMES`. Raises InputError for a latent that the dictionary does not have."""
    latent = chosen_latent(frames, spec)
    row = frames["latents"].iloc[latent]
    name = f"latent {latent}" + (f" “{row['written']}”" if row["written"] else "")
    return {
        "latents": _latents(frames, spec),
        "contexts": _contexts(frames, row, name),
        "activations": _activations(frames, row, name),
        "effects": _effects(frames, latent, name),
        "neighbours": _neighbours(frames, latent, name),
        "together": _together(frames, latent, name),
        "own": _own(frames, latent, name),
    } | ({} if spec.asks is None else {ASKED: asked_figure(frames["asked"], spec)})


def _latents(frames: Frames, spec: BrowserSpec) -> go.Figure:
    about, (shown, found) = frames["about"].iloc[0], listed(frames, spec)
    title = f"Latents of {about['dictionary']}, {about['reads']}"
    if shown.empty:
        return _words(title, f"No latent has {spec.find!r} where it was looked for ({spec.find_in}).")
    shown = shown.iloc[::-1]  # a heatmap's first row is at the bottom
    norms = frames["latents"]["norm"]
    alike = bool(norms.max() - norms.min() < ALIKE * norms.max())
    shaded = [one for one in SHADED if one[0] != "norm" or not alike]
    ranks = {name: frames["latents"][name].round(4).rank(pct=True).loc[shown.index] for name, _ in shaded}
    numbers = [[_short(row[name]) for name, _ in shaded] for _, row in shown.iterrows()]
    words = [[glyphs(row[name]) if row[name] else "" for name, _ in WORDED] for _, row in shown.iterrows()]
    shades = np.column_stack([ranks[name].fillna(0).to_numpy() for name, _ in shaded])
    looked = f" with {spec.find!r} ({spec.find_in})" if spec.find else ""
    return lens_table(
        np.hstack([shades, np.zeros((len(shown), len(WORDED)))]),
        [[*a, *b] for a, b in zip(numbers, words, strict=True)],
        [*(words for _, words in shaded), *(words for _, words in WORDED)],
        [_named(row) for _, row in shown.iterrows()],
        title=title, x_title="", y_title="latent, its label (automatic)", unit="share of latents below",
        legend=f"{len(shown)} of {found:,} latents{looked}, {_order(spec)}. Shade: rank among all latents. Density "
        f"over {about['text']}. Promotes: through the final norm, its scale 1. AUROC: of the automatic label, on "
        "contexts that it was not made from; 0.5 is chance, and the best of many are flattered."
        + (f" All directions have length {norms.iloc[0]:.3g}." if alike else ""),
    )  # fmt: skip


def _named(row: pd.Series) -> str:
    """A latent's number and as much of its label as there is room for."""
    label = row["written"] or (f"({row['automatic']})" if row["automatic"] else "")
    return f"{row['latent']} {elide(label, LABEL)}".rstrip()


def _order(spec: BrowserSpec) -> str:
    if spec.sort == "latent":
        return "by number"
    said = {"norm": "length of the direction", "largest": "largest activation", "effect": "largest promoted logit",
            "auroc": "AUROC of the automatic label", "density": "density"}[spec.sort]  # fmt: skip
    return f"{'smallest' if spec.ascending else 'largest'} {said} first"


def _contexts(frames: Frames, row: pd.Series, name: str) -> go.Figure:
    rows = frames["contexts"][frames["contexts"]["latent"] == row["latent"]]
    if rows.empty:
        return _words(f"Contexts of {name}", f"{name} is active nowhere in {frames['about']['text'].iloc[0]}.")
    lines = [_line(one) for _, one in rows.iterrows()]
    tokens = [one for line in lines for one in line[0]]
    values, hovers = [one for line in lines for one in line[1]], [one for line in lines for one in line[2]]
    figure = strip(
        tokens, values, title=f"Where {name} is active", unit="activation", colours="oranges", hovers=hovers,
        limits=(0.0, max(float(row["largest"]), 1e-9)),
        legend=f"Active on {row['density']:.2%} of {frames['about']['text'].iloc[0]}. In front of each context: "
        "which part of the latent's activations it comes from, and the activation there. "
        f"{_label(row)}",
    )  # fmt: skip
    # a context a line, whatever newlines its tokens hold; the words in front are no tokens without a number
    meta = dict(figure.layout.meta)
    meta["breaks"] = [place == len(line[0]) - 1 for line in lines for place in range(len(line[0]))]
    begins = np.cumsum([0, *(len(line[0]) for line in lines)])
    meta["words"] = [tokens[at] if at in begins else word for at, word in enumerate(meta["words"])]
    meta["notes"] = [one for one in meta["notes"] if not one.startswith("blank:")]
    return fit(figure.update_layout(meta=meta))


def _line(one: pd.Series) -> tuple[list[str], list[float], list[str]]:
    """(words, activations, hovers) of a context: in front what it is, then the tokens around its position."""
    centre = int(one["position"] - one["first"])
    shown = slice(max(0, centre - BEFORE), centre + AFTER + 1)
    tokens, active = json.loads(one["tokens"])[shown], json.loads(one["activations"])[shown]
    first = int(one["first"]) + shown.start
    where = [f"text {one['text']}, position {first + place}" for place in range(len(tokens))]
    front = f"{one['band']} {one['activation']:.3g}"
    return [front, *tokens], [float("nan"), *active], [front, *where]


def _label(row: pd.Series) -> str:
    if not row["automatic"]:
        return "No automatic label: it is never active on the half of the texts that labels are made of."
    if not np.isfinite(row["auroc"]):
        return f"Automatic label (its tokens): {row['automatic']}; too few contexts to test it."
    return (f"Automatic label (its tokens): {row['automatic']}; tells {row['tested']} held-out contexts from as many "
            f"others with AUROC {row['auroc']:.2f} ({row['auroc_low']:.2f} to {row['auroc_high']:.2f}).")  # fmt: skip


def _activations(frames: Frames, row: pd.Series, name: str) -> go.Figure:
    rows = frames["activations"][frames["activations"]["latent"] == row["latent"]]
    if rows.empty:
        return _words(f"Activations of {name}", "It is active nowhere.")
    middles = np.repeat((rows["low"] + rows["high"]) / 2, rows["count"])
    return histogram(
        {name: middles}, title=f"How strongly {name} is active", x_title="activation", noun="tokens", share=False,
        bins=len(rows), limits=(float(rows["low"].min()), float(rows["high"].max())),
        legend=f"Active on {rows['count'].sum():,} of {frames['about']['tokens'].iloc[0]:,} tokens; the others, with "
        "activation 0, are left out.",
    )  # fmt: skip


def _effects(frames: Frames, latent: int, name: str) -> go.Figure:
    rows = frames["effects"][frames["effects"]["latent"] == latent]
    up, down = rows[rows["direction"] == "promoted"], rows[rows["direction"] == "suppressed"].iloc[::-1]
    shown = pd.concat([up, down])
    return bars(
        shown.assign(words=[glyphs(one) for one in shown["token"]]), label="words", value="logit", y_title="token",
        title=f"Tokens that {name} promotes and suppresses", unit="logits a unit of activation",
        legend="Its direct path alone: direction × final norm's weight × unembedding, the norm's scale 1, less the "
        "mean over the vocabulary. Blue: promoted. Red: suppressed.",
    )  # fmt: skip


def _neighbours(frames: Frames, latent: int, name: str) -> go.Figure:
    return _others(frames, latent, "direction", f"Latents whose directions are nearest to {name}'s", "cosine",
                   "Cosine of what the two write; latents that split one feature lie near 1.")  # fmt: skip


def _together(frames: Frames, latent: int, name: str) -> go.Figure:
    return _others(frames, latent, "together", f"Latents that are active together with {name}", "φ",
                   "Correlation (φ) of being active on a token, over all tokens; 1: always together.")  # fmt: skip


def _others(frames: Frames, latent: int, kind: str, title: str, unit: str, legend: str) -> go.Figure:
    rows = frames["neighbours"]
    rows = rows[(rows["latent"] == latent) & (rows["kind"] == kind) & rows["value"].notna()]
    if rows.empty:
        return _words(title, "There is none.")
    latents = frames["latents"]
    words = [f"{one}: {latents['written'].iloc[one] or latents['automatic'].iloc[one] or 'never active'}"[:44]
             for one in rows["other"]]  # fmt: skip
    return bars(rows.assign(words=words), label="words", value="value", title=title, unit=unit, legend=legend,
                y_title="latent")  # fmt: skip


def _own(frames: Frames, latent: int, name: str) -> go.Figure:
    tokens, own = frames["own_tokens"], frames["own"]
    mine = own[own["latent"] == latent].set_index("position")["activation"]
    values = [float(mine.get(place, 0.0)) if place else float("nan") for place in tokens["position"]]
    top = frames["latents"]["largest"].iloc[latent]
    return strip(
        list(tokens["token"]), values, title=f"{name[0].upper()}{name[1:]} in the run's own text", unit="activation",
        colours="oranges", limits=(0.0, max([float(top), 1e-9, *(one for one in values if one == one)])),
        legend=f"{frames['about']['own'].iloc[0].capitalize()}. Active on {len(mine)} of {len(tokens)} tokens; the "
        "first token is not encoded.",
    )  # fmt: skip


def _short(number: float) -> str:
    return "" if not np.isfinite(number) else f"{number:.3g}"


def _words(title: str, words: str) -> go.Figure:
    """An empty plot that says why there is nothing to draw."""
    figure = go.Figure()
    figure.update_layout(meta={"kind": "axes", "title": title, "notes": [words], "x_title": "", "y_title": "",
                               "plot_px": 60.0})  # fmt: skip
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return fit(figure.update_layout(template=template()))
