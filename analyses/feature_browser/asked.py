"""Labels that a model gives a few latents, tested like those of tokens, beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from analyses._contract import Context
from analyses._dictionaries.asking import AskedLabeller
from analyses._dictionaries.detection import detection, windows_of
from analyses._dictionaries.firing import Firing
from analyses._dictionaries.harvest import Harvest
from analyses._plots import grouped_bars
from analyses._plots.tokens import elide
from analyses.feature_browser.cards import REACH
from analyses.feature_browser.tables import table

if TYPE_CHECKING:
    from analyses.feature_browser import BrowserSpec

MOST, WIDE = 10, 24
"""Latents that are asked about when none are named; characters of a label on the figure."""
FIRST, LAST = 0.86, 0.9
"""Shares of the progress."""
TOKENS, MODEL = "tokens", "asked model"


def asked_frame(
    latents: pd.DataFrame, fires: Firing, read: Harvest, held: Tensor, every: list[str], spec: BrowserSpec,
    context: Context,
) -> pd.DataFrame:  # fmt: skip
    """One row a latent that the model `spec.asks` is asked about; none without it."""
    if spec.asks is None:
        return table("asked", [])
    chosen = list(dict.fromkeys(spec.ask)) or _best(latents)
    done = 0

    def tick() -> None:
        context.progress(FIRST + (LAST - FIRST) * done / len(chosen), f"asking for label {done + 1} of {len(chosen)}")

    windows = windows_of(read.text, read.token, REACH)
    labeller = AskedLabeller(context.use("asks"), fires, windows, ~held, every, tick)
    rows = []
    for latent in chosen:
        found = detection(labeller, fires, windows, held, latent, spec.draw_seed)
        own = latents.iloc[latent]
        rows.append({
            "latent": latent, "label": labeller.label(latent), "auroc": found.auroc, "low": found.low,
            "high": found.high, "tested": found.tested, "tokens": own["automatic"], "tokens_auroc": own["auroc"],
            "tokens_low": own["auroc_low"], "tokens_high": own["auroc_high"],
        })  # fmt: skip
        done += 1
    return table("asked", rows)


def _best(latents: pd.DataFrame) -> list[int]:
    told = latents.dropna(subset=["auroc"]).sort_values("auroc", ascending=False, kind="stable")
    return [int(one) for one in told["latent"][:MOST]]


def asked_figure(asked: pd.DataFrame, spec: BrowserSpec) -> go.Figure:
    """Both labels' scores, latent by latent."""
    rows = []
    for _, row in asked.iterrows():
        name = f"{row['latent']} {elide(row['label'], WIDE) or 'no label'}"
        rows.append((name, MODEL, row["auroc"], row["low"], row["high"]))
        rows.append((name, TOKENS, row["tokens_auroc"], row["tokens_low"], row["tokens_high"]))
    return grouped_bars(
        pd.DataFrame(rows, columns=["latent", "by", "auroc", "low", "high"]).dropna(subset=["auroc"]),
        x="latent", group="by", value="auroc", low="low", high="high", reference=0.5,
        title=f"Labels that {spec.asks} gave, and how well they tell contexts", x_title="latent, the label it gave",
        y_title="AUROC of the label",
        legend="tested on texts that the labels were not made of, as the tokens' labels are; dashed: chance"
        + ("" if spec.ask else ". The latents were chosen for their labels of tokens"),
    )  # fmt: skip
