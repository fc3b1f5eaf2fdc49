"""Pictures of feature steering: the target over the strength, its cost, and both together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import grouped_bars, lines, scatter
from analyses.feature_steering.arms import DIRECTION, LATENTS, RANDOM, UNSTEERED
from analyses.feature_steering.tables import CHANGE, DISTINCT, HELD, LOG_PROB, OWN, SHARE

if TYPE_CHECKING:
    from analyses.feature_steering import FeatureSteeringSpec

NAMES = ("verdicts", "target", "log_prob", "own_text", "held_out", "distinct", "trade")
ARMS = {LATENTS: "the latents", RANDOM: "random latents, as far", DIRECTION: "decoder direction, as far in the mean"}
STRENGTHS = {
    "clamp": "clamped at (typical activations)",
    "scale": "activation scaled by",
    "ablate": "scaled by",
}
QUIET = "#777777"
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, float("inf"))
TICKS = 7
"""Steps between the ticks of an axis, and how many steps it has at most."""


def figures(frames: Frames, _spec: FeatureSteeringSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    about, note = frames["about"].iloc[0], _note(frames)
    curve = frames["curve"].assign(line=frames["curve"]["arm"].map(ARMS))
    x_title, whose = STRENGTHS[about["mode"]], _whose(frames)
    target = f"target: {_short(about['words'])}"
    return {
        "verdicts": _verdicts(curve, frames, whose, f"{target}. {_verdict(frames)}. {note}"),
        "target": _line(curve, SHARE, f"Continuations with a target word, {whose}", "share of continuations", x_title,
                        f"{target}. {_verdict(frames)}. {note}"),
        "log_prob": _line(curve, LOG_PROB, f"A target word right after the prompt, {whose}",
                          "change of log P (nats)", x_title,
                          f"{target}. One number a prompt, so that one prompt has no band. {note}", zero=True),
        "own_text": _in_both(_line(curve, OWN, f"How likely the steered text is without steering, {whose}",
                                   "nats a token (perplexity), unsteered model", x_title, note), "y", ""),
        "held_out": _in_both(_line(curve, HELD, f"What steering costs on other text, {whose}",
                                   "nats a token added (perplexity, times)", x_title, _held(frames), zero=True),
                             "y", "×"),
        "distinct": _line(curve, DISTINCT, f"Repetition, {whose}", "different pairs of tokens over all pairs", x_title,
                          f"1: no pair comes twice. {note}"),
        "trade": _trade(curve, whose, f"{target}. Labels: strength. {note}"),
    }  # fmt: skip


def _in_both(figure: go.Figure, axis: Literal["x", "y"], times: str) -> go.Figure:
    """Ticks of a loss in nats with what that is in perplexity behind it, or what perplexity is multiplied by."""
    ends = [value for trace in figure.data for value in getattr(trace, axis) or () if np.isfinite(value)]
    for bars in (getattr(trace, f"error_{axis}") for trace in figure.data):
        ends += [0.0] if bars is not None and bars.array is not None else []
    low, high = min([0.0, *ends]) if times else min(ends), max(ends)
    step = next(one for one in STEPS if (high - low) / one <= TICKS)
    ticks = np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step
    words = [f"{tick:g} ({times}{np.exp(tick):.3g})".replace("-", "−") for tick in ticks]
    axes = figure.update_yaxes if axis == "y" else figure.update_xaxes
    return axes(tickvals=list(ticks), ticktext=words)


def _verdicts(curve: pd.DataFrame, frames: Frames, whose: str, legend: str) -> go.Figure:
    """The change of every arm at every strength, and what came of it: failures stand as large as successes."""
    rows = curve[(curve["measure"] == CHANGE) & (curve["arm"] != UNSTEERED)]
    said = frames["verdicts"].set_index("strength")["outcome"]
    rows = rows.assign(place=[f"{one:g}: {said[one]}" for one in rows["strength"]])
    x_title = STRENGTHS[frames["about"].iloc[0]["mode"]]
    return grouped_bars(
        rows.sort_values("strength", kind="stable"), x="place", group="line", value="mean", low="low", high="high",
        title=f"What came of it, {whose}", x_title=f"{x_title}: what came of it",
        y_title="change of the share with a target word", legend=legend.replace("; dashed: unsteered. Bands", ". Bars"),
    )  # fmt: skip


def _short(words: str, most: int = 60) -> str:
    return words if len(words) <= most else f"{words[:most]}…"


def _whose(frames: Frames) -> str:
    latents, about = frames["latents"], frames["about"].iloc[0]
    numbers = ", ".join(str(one) for one in latents["latent"][:4]) + ("…" if len(latents) > 4 else "")
    return f"latent{'s' if len(latents) > 1 else ''} {numbers} of {about['site']} L{about['layer']}"


def _note(frames: Frames) -> str:
    about, curve = frames["about"].iloc[0], frames["curve"]
    of = "one prompt" if about["prompts"] == 1 else f"{about['prompts']} prompts"
    over = "continuations" if about["prompts"] == 1 else "prompts"
    draws = frames["controls"]["draw"].nunique()
    made = "" if about["dictionary"] else ". Dictionary made on the spot: to try the page, not to conclude"
    rare = "" if frames["latents"]["own"].all() else ". A latent never fires on the reference text: unit of all"
    count = int(curve.loc[(curve["arm"] == LATENTS) & (curve["measure"] == SHARE), "count"].max())
    return (f"{count} continuations of {of} at each strength; dashed: unsteered. Bands: 95% over {over}; random "
            f"latents: {draws} draws, where 95% of further ones are expected{rare}{made}")  # fmt: skip


def _held(frames: Frames) -> str:
    costs = frames["costs"]
    return (f"{costs['text'].nunique()} neutral texts, edited at every token but the first; perplexity unsteered "
            f"{frames['about'].iloc[0]['perplexity']:.3g}. Bands: 95% over texts; random latents: where 95% of further "
            "draws are expected")  # fmt: skip


def _verdict(frames: Frames) -> str:
    table = frames["verdicts"]
    told, beyond = int(table["told"].sum()), int((table["told"] & table["beyond_random"]).sum())
    return f"Told from no change at {told} of {len(table)} strengths, beyond random latents at {beyond}"


def _line(
    curve: pd.DataFrame, measure: str, title: str, y_title: str, x_title: str, legend: str, *, zero: bool = False
) -> go.Figure:  # fmt: skip
    rows = curve[curve["measure"] == measure]
    figure = lines(
        rows[rows["arm"] != UNSTEERED], x="strength", y="mean", low="low", high="high", group="line", title=title,
        x_title=x_title, y_title=y_title, legend=legend,
    )  # fmt: skip
    level = 0.0 if zero else float(rows.loc[rows["arm"] == UNSTEERED, "mean"].iloc[0])
    if np.isfinite(level):
        figure.add_hline(y=level, line={"color": QUIET, "width": 1, "dash": "dash"})
    return figure


def _trade(curve: pd.DataFrame, whose: str, note: str) -> go.Figure:
    """Effect against cost: every arm and strength a point."""
    rows = curve[curve["arm"] != UNSTEERED]
    effect, cost = (rows[rows["measure"] == name] for name in (CHANGE, HELD))
    keys = ["arm", "strength", "line"]
    both = effect.merge(cost, on=keys, suffixes=("", "_cost"), validate="one_to_one")
    both = both.assign(label=[f"{one:g}" for one in both["strength"]])
    figure = scatter(
        both, x="mean_cost", y="mean", x_low="low_cost", x_high="high_cost", y_low="low", y_high="high", group="line",
        label="label", correlation=False, title=f"What the effect costs, {whose}",
        x_title="added to held-out text: nats a token (perplexity, times)",
        y_title="change of the share with a target word", legend=note.replace("dashed: unsteered. Bands", "bars"),
    )  # fmt: skip
    return _in_both(figure, "x", "×")
