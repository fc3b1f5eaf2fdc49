"""Spectra's pictures: each measure by layer beside its controls, by label, pooled, and the decay of the variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._common import mean_of
from analyses._contract import Frames
from analyses._plots import lines
from analyses.spectra.computing import ALL, MODEL
from analyses.spectra.measures import CODING, EFFECTIVE, MEASURES, PARTICIPATION, TOP

if TYPE_CHECKING:
    from analyses.spectra import SpectraSpec

TITLES = {PARTICIPATION: "Participation ratio", EFFECTIVE: "Effective rank", CODING: "Coding rate",
          TOP: "Share of the variance along the top direction"}  # fmt: skip
UNITS = {PARTICIPATION: "directions", EFFECTIVE: "directions", CODING: "nats", TOP: "fraction"}
CURVES = 5
"""Layers whose decay is drawn."""


def names(spec: SpectraSpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return (*MEASURES, "labels", *(("pooled",) if spec.pooled else ()), "decay")


def figures(frames: Frames, spec: SpectraSpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    drawn = {name: _measure(frames, spec, name) for name in MEASURES} | {"labels": _labels(frames, spec)}
    if spec.pooled:
        drawn["pooled"] = _pooled(frames, spec)
    return drawn | {"decay": _decay(frames, spec)}


def drawn_site(spec: SpectraSpec) -> str:
    """The site that the figures draw."""
    return spec.drawn_site or spec.kinds[0]


def _said(spec: SpectraSpec, tokens: int) -> str:
    left = f", the first {spec.skip} left out" if spec.skip > 1 else ", the first left out" if spec.skip else ""
    centred = ("unit norm, " if spec.unit_norm else "") + ("centred" if spec.centred else "not centred")
    return f"{drawn_site(spec)}, {tokens} tokens a cloud{left}, {centred}"


def _band(count: int) -> str:
    return ". Bands: 95% over texts" if count > 1 else ""


def _epsilon(spec: SpectraSpec, measure: str) -> str:
    return f", ε = {spec.epsilon:g} at mean squared norm 1" if measure == CODING else ""


def _measure(frames: Frames, spec: SpectraSpec, measure: str) -> go.Figure:
    table = frames["spectra"]
    here = table[(table["site"] == drawn_site(spec)) & (table["label"] == ALL) & (table["measure"] == measure)]
    count, tokens = int(here["texts"].iloc[0]), int(here["tokens"].iloc[0])
    return lines(
        here, x="layer", y="mean", group="data", low="low", high="high", title=f"{TITLES[measure]} by layer",
        x_title="layer", y_title=f"{TITLES[measure].lower() if measure != TOP else 'top share'} ({UNITS[measure]})",
        legend=f"{mean_of(count, noun='text')}, each a cloud of its own: {_said(spec, tokens)}"
        f"{_epsilon(spec, measure)}{_band(count)}",
    )  # fmt: skip


def _labels(frames: Frames, spec: SpectraSpec) -> go.Figure:
    table, measure = frames["spectra"], spec.measure
    here = table[(table["site"] == drawn_site(spec)) & (table["data"] == MODEL) & (table["measure"] == measure)]
    several = here["label"].nunique() > 1
    shown = here[here["label"] != ALL] if several else here
    counts = sorted({int(count) for count in shown["texts"]})
    texts = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    words = f"{texts} text{'s' if counts[-1] > 1 else ''} a label" if several else "the texts have no labels to compare"
    return lines(
        shown, x="layer", y="mean", group="label", low="low", high="high", x_title="layer",
        title=f"{TITLES[measure]} by kind of text", y_title=UNITS[measure],
        legend=f"Mean over texts, each a cloud of its own; {words}: {_said(spec, int(shown['tokens'].iloc[0]))}"
        f"{_epsilon(spec, measure)}{_band(counts[-1])}",
    )  # fmt: skip


def _pooled(frames: Frames, spec: SpectraSpec) -> go.Figure:
    table, measure = frames["pooled"], spec.measure
    here = table[(table["site"] == drawn_site(spec)) & (table["measure"] == measure)]
    own = here[here["data"] == MODEL]
    controls = here[(here["data"] != MODEL) & (here["label"] == ALL)]
    words = controls["data"].map(lambda data: data if data == "Gaussian" else f"{data}, {ALL}")
    # The labels come first, as in the picture by label, so that each has one colour in both.
    own = own.assign(curve=own["label"]).sort_values("label", key=lambda label: label == ALL, kind="stable")
    shown = pd.concat([own, controls.assign(curve=words)])
    least = int(own["texts"].min())
    return lines(
        shown, x="layer", y="value", group="curve", x_title="layer", y_title=UNITS[measure],
        title=f"{TITLES[measure]} of texts pooled",
        legend=f"{_said(spec, int(own['tokens'].iloc[0]))}, {least} text{'s' if least > 1 else ''} a label"
        f"{_epsilon(spec, measure)}. One cloud a curve: no interval",
    )  # fmt: skip


def _decay(frames: Frames, spec: SpectraSpec) -> go.Figure:
    table = frames["decay"]
    here = table[(table["site"] == drawn_site(spec)) & (table["share"] > 1e-12)]
    layers = sorted(here["layer"].unique())
    step = max(1, -(-(len(layers) - 1) // (CURVES - 1))) if len(layers) > 1 else 1
    chosen = [*layers[:-1:step], layers[-1]] if layers else []
    shown = here[here["layer"].isin(chosen)].assign(name=lambda rows: "layer " + rows["layer"].astype(str))
    count, tokens = len(frames["texts"]), int(frames["texts"]["tokens"].iloc[0])
    figure = lines(
        shown, x="rank", y="share", group="name", x_title="principal direction, largest first",
        title="How fast the variance decays", y_title="share of the variance (log scale)",
        legend=f"{mean_of(count, noun='text')}, each a cloud of its own: {_said(spec, tokens)}",
    )  # fmt: skip
    figure.update_yaxes(type="log")
    return figure
