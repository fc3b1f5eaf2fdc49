"""A training's pictures: explained variance, active latents and dead ones over the steps; densities at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._dictionaries.training import DEAD_BATCHES
from analyses._plots import histogram, lines

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec

STEP = "training step"


def names(_spec: TrainSpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return ("explained", "active", "dead", "densities")


def figures(frames: Frames, spec: TrainSpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    curve, last = frames["curve"], frames["summary"]
    curve = curve.assign(words=[f"layer {layer}" for layer in curve["layer"]])
    what, at_end = _what(last, spec), "; ".join(_end(row) for _, row in last.iterrows())
    ideal = "" if spec.architecture in ("standard", "gated") else f" Asked for: {spec.active}."
    group = "words" if len(last) > 1 else None
    x: dict[str, Any] = {"x": "step", "group": group, "x_title": STEP}
    return {
        "explained": lines(curve, y="explained", title=f"Explained variance: {what}",
                           y_title="explained (share, held out)", legend=f"At the end {at_end}.", **x),
        "active": lines(curve, y="active", title=f"Active latents: {what}", y_title="active latents a token",
                        legend=f"Mean over held-out tokens (L0).{ideal}", **x),
        "dead": lines(curve, y="dead", title=f"Dead latents: {what}", y_title="dead (share of latents)",
                      legend=f"Not active in the last {DEAD_BATCHES} batches of "
                      f"{min(spec.batch, last['trained'].min()):,} training tokens.", **x),
        "densities": _densities(frames["densities"], last, what),
    }  # fmt: skip


def _what(summary: pd.DataFrame, spec: TrainSpec) -> str:
    where = summary["reads"].iloc[0] if len(summary) == 1 else f"{len(summary)} layers"
    kind = spec.kind.replace("_", " ")
    return f"{spec.architecture} {kind}, {summary['latents'].iloc[0]:,} latents, {where}"


def _end(row: pd.Series) -> str:
    compared = "" if np.isnan(row["components"]) else f", {row['components']:.3f} by as many principal components"
    seen = f"{row['held']:,} held-out tokens, {row['trained']:,} trained on {row['passes']:.1f} times{_left(row)}"
    return f"layer {row['layer']}: {row['explained']:.3f} with {row['active']:.1f} active{compared} ({seen})"


def _left(row: pd.Series) -> str:
    return f"; {row['left_out']:,} of huge norm left out" if row["left_out"] else ""


def _densities(frame: pd.DataFrame, summary: pd.DataFrame, what: str) -> go.Figure:
    alive = frame[frame["density"] > 0]
    silent = "; ".join(f"layer {row['layer']}: {row['dead']:.1%} never active" for _, row in summary.iterrows())
    if alive.empty:
        alive = frame.assign(density=1 / summary["held"].iloc[0])
    groups = {f"layer {layer}": np.log10(part["density"]) for layer, part in alive.groupby("layer", sort=False)}
    return histogram(
        groups, title=f"How often latents are active: {what}", x_title="log₁₀ of the share of held-out tokens",
        noun="latents", share=False, legend=f"Never active ones are left out ({silent}).",
    )  # fmt: skip
