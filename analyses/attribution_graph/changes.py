"""The picture of ablations: what the graph predicts and what the model does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._plots import scatter

WAYS = (
    ("direct", "held", "all else held"),
    ("total", "responding", "latents respond"),
    ("total", "free", "free model"),
)
LABELLED = 8
"""Points farthest from the middle that are named."""


def ablations(frame: pd.DataFrame) -> go.Figure:
    """Predicted against measured changes, without those of the first token."""
    first = frame["source"].str.endswith("_0")
    away, frame = int(first.sum()), frame[~first]
    parts = [
        pd.DataFrame({"x": frame[said], "y": frame[found], "way": name,
                      "label": frame["source_label"] + " ⊣ " + frame["target_label"]})
        for said, found, name in WAYS
    ]  # fmt: skip
    rows = pd.concat(parts, ignore_index=True).astype({"x": "float64", "y": "float64"})
    if rows.empty:
        rows = pd.DataFrame({"x": [0.0], "y": [0.0], "way": ["nothing was left to take away"], "label": [""]})
    said = "; ".join(f"{name} {agreement(frame, x, y)}" for x, y, name in WAYS)
    logits = frame[frame["target_kind"] == "logit"]
    said += f" (on {len(logits)} logits alone {agreement(logits, 'total', 'free')})"
    return scatter(
        rows, x="x", y="y", group="way", label="label", labelled=LABELLED, identity=True, correlation=False,
        title="Taking nodes away: predicted and measured",
        x_title="predicted change (logits, or a latent's pre-activation)",
        y_title="measured change (logits, or a latent's pre-activation)",
        legend=f"{frame['source'].nunique()} nodes, {len(frame)} of their targets, one prompt. With all else held "
        "the prediction is minus the edge; else latents pass the change on. Same sign, slope of measured on "
        f"predicted: {said}." + (f" Left out, in the table: {away} pairs of the first token, on which attention rests."
                               if away else ""),
    )  # fmt: skip


def agreement(frame: pd.DataFrame, predicted: str, measured: str) -> str:
    """How often the sign is the same, and the slope through the origin."""
    x, y = frame[predicted].to_numpy(dtype=float), frame[measured].to_numpy(dtype=float)
    if not len(x) or not float(x @ x):
        return "none"
    return f"{np.mean(np.sign(x) == np.sign(y)):.0%}, {x @ y / (x @ x):.2f}"
