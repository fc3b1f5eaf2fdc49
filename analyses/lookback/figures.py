"""Lookback's pictures: the new text coloured by ratio, the heads' means and slopes, and decay over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._common import grey_note
from analyses._contract import Frames
from analyses._plots import grid, lines, sequential_heatmap, signed_heatmap, strip, token_labels
from analyses._plots.theme import QUIET

if TYPE_CHECKING:
    from analyses.lookback import LookbackSpec

NAMES = ("text", "heads", "decay", "slopes", "verdict")


def figures(frames: Frames, spec: LookbackSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    return {
        "text": _text(frames, spec),
        "heads": _means(frames["heads"], frames["prompts"]),
        "decay": _decay(frames, spec),
        "slopes": _slopes(frames["heads"]),
        "verdict": _verdict(frames, spec),
    }


def whose(spec: LookbackSpec) -> str:
    """The head or mean that is drawn, in words."""
    if spec.shown_layer is None:
        return "mean of all heads"
    return f"mean of layer {spec.shown_layer}" if spec.shown_head is None else f"L{spec.shown_layer}H{spec.shown_head}"


def _chosen(ratios: pd.DataFrame, spec: LookbackSpec) -> pd.DataFrame:
    """The ratio by prompt and step that is drawn: prompt, step, ratio."""
    if spec.shown_layer is not None:
        ratios = ratios[ratios["layer"] == spec.shown_layer]
    if spec.shown_head is not None:
        ratios = ratios[ratios["head"] == spec.shown_head]
    return ratios.groupby(["prompt", "step"])["ratio"].mean().reset_index()


def _one_prompt(frames: Frames, spec: LookbackSpec) -> tuple[int, pd.DataFrame]:
    """The prompt that is drawn and its tokens; the first that has any where the asked one has none."""
    tokens = frames["tokens"]
    number = spec.shown_prompt if (tokens["prompt"] == spec.shown_prompt).any() else int(tokens["prompt"].iloc[0])
    return number, tokens[tokens["prompt"] == number]


def _text(frames: Frames, spec: LookbackSpec) -> go.Figure:
    number, tokens = _one_prompt(frames, spec)
    ratios = _chosen(frames["ratios"], spec)
    values = ratios.loc[ratios["prompt"] == number, "ratio"].tolist()
    verdicts = [f"detector: P(right) {one:.3f}" if np.isfinite(one) else "" for one in tokens["verdict"]]
    ends = frames["prompts"].set_index("prompt")["text"][number][-40:]
    return strip(
        tokens["token"].tolist(), [one - 0.5 for one in values], hovers=verdicts, colours="signed",
        title=f"What was written after “…{ends}”", unit="ratio − 0.5",
        legend=f"Lookback ratio, {whose(spec)}. Blue: more weight on a token of the context than on one after it; "
        f"red: less. Prompt {number}",
    )  # fmt: skip


def _sample(prompts: pd.DataFrame) -> str:
    count = int((prompts["tokens"] > 0).sum())
    silent = len(prompts) - count
    words = "One prompt" if count == 1 else f"Mean of {count} prompts"
    return words + (f"; {silent} without a new token left out" if silent else "")


def _means(heads: pd.DataFrame, prompts: pd.DataFrame) -> go.Figure:
    cells = {name: grid(heads, x="head", y="layer", value=name).to_numpy() for name in ("mean", "low", "high")}
    low, high = (None, None) if np.isnan(cells["low"]).all() else (cells["low"], cells["high"])
    rows, columns = cells["mean"].shape
    return sequential_heatmap(
        cells["mean"], [str(one) for one in range(columns)], [str(one) for one in range(rows)], low=low, high=high,
        limits=(0.0, 1.0), title="Lookback ratio of every head", x_title="head", y_title="layer", unit="lookback ratio",
        legend=f"{_sample(prompts)}. 0.5: as much to a token of the context as to one after it. A sink at the first "
        "token counts as context where it is inside",
    )  # fmt: skip


def _decay(frames: Frames, spec: LookbackSpec) -> go.Figure:
    decay, prompts = frames["decay"], frames["prompts"]
    layers = sorted(int(one) for one in decay["layer"].dropna().unique())
    chosen = sorted({layers[0], layers[len(layers) // 2], layers[-1]} | {spec.shown_layer or 0})
    shown = decay[decay["layer"].isna() | decay["layer"].isin(chosen)]
    words = ["all layers" if pd.isna(one) else f"layer {one}" for one in shown["layer"]]
    order = shown.assign(whose=words).sort_values(["layer", "step"], na_position="first", kind="stable")
    figure = lines(
        order, x="step", y="mean", low="low", high="high", group="whose",
        title="Lookback ratio from token to token", x_title="new token", y_title="lookback ratio",
        legend=f"{_sample(prompts)}; mean over heads. Dashed: as much to a token of either"
        + ("" if len(prompts) == 1 else ". Each token's mean and band (95%) are of the prompts that reach it"),
    )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": QUIET, "width": 1, "dash": "dash"})
    return figure


def _slopes(heads: pd.DataFrame) -> go.Figure:
    table = heads.assign(not_told=~heads["discovered"].astype(bool))
    names = ("slope", "slope_low", "slope_high", "not_told")
    slope, low, high, grey = (grid(table, x="head", y="layer", value=name).to_numpy() for name in names)
    count = int(heads["prompts"].iloc[0])
    several = count > 1
    words = "No prompt has enough new tokens" if count == 0 else f"{count} prompts" if several else "One prompt"
    return signed_heatmap(
        slope, [str(one) for one in range(slope.shape[1])], [str(one) for one in range(slope.shape[0])],
        mask=np.isnan(slope), hidden=grey.astype(bool) if several else None, hidden_note=grey_note(count, "no slope"),
        low=low if several else None, high=high if several else None,
        title="Slope of the lookback ratio over new tokens", x_title="head", y_title="layer", unit="ratio a token",
        legend=f"{words}. Red: the head turns from the context to the new text; blue: back to the context",
    )  # fmt: skip


def _verdict(frames: Frames, spec: LookbackSpec) -> go.Figure:
    number, tokens = _one_prompt(frames, spec)
    ratios = _chosen(frames["ratios"], spec)
    ratio = ratios.loc[ratios["prompt"] == number, ["step", "ratio"]].rename(columns={"ratio": "value"})
    chance = pd.DataFrame({"step": tokens["step"], "value": np.exp(tokens["log_prob"]), "what": "p of the token"})
    parts = [ratio.assign(what=f"lookback ratio, {whose(spec)}"), chance]
    if tokens["verdict"].notna().any():
        parts.append(tokens[["step", "verdict"]].rename(columns={"verdict": "value"}).assign(what="detector: P(right)"))
    labels = token_labels(tokens["token"].tolist())
    return lines(
        pd.concat(parts, ignore_index=True), x="step", y="value", group="what", x_labels=labels,
        title="Ratio, probability and verdict, token by token", x_title="new token", y_title="value, 0 to 1",
        legend=f"Prompt {number}" + ("" if len(parts) == 3 else ". No detector was given (--detector NAME)"),
    )  # fmt: skip
