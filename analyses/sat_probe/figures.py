"""The SAT probe's pictures: AUROC beside the baselines, risk, the early cut-off, weights and single heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import grid, grouped_bars, lines, signed_heatmap
from analyses.sat_probe.probing import MAJORITY

if TYPE_CHECKING:
    from analyses.sat_probe import SatSpec

NAMES = ("auroc", "risk", "cutoff", "weights", "heads")


def figures(frames: Frames, _spec: SatSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    first = frames["scores"].iloc[0]
    counted = f"{first['right']} right and {first['wrong']} wrong answers, {first['groups']} groups"
    halves = f"Halves without a shared group, mean of {first['splits']} splits"
    return {
        "auroc": _auroc(frames["scores"], f"{counted}. {halves}"),
        "risk": _risk(frames["risks"], counted),
        "cutoff": _cutoff(frames["cutoff"], f"{counted}. {halves}"),
        "weights": _weights(frames["heads"], counted),
        "heads": _heads(frames["heads"], counted),
    }


def _auroc(scores: pd.DataFrame, note: str) -> go.Figure:
    table = scores[scores["method"] != MAJORITY].assign(all="all")
    return grouped_bars(
        table, x="method", group="all", value="auroc", low="low", high="high", reference=0.5,
        title="Telling right answers from wrong ones", x_title="", y_title="AUROC",
        legend=f"{note}; bars: 95% intervals, of shuffled labels 95% of permutations. Dashed: chance",
    )  # fmt: skip


def _risk(risks: pd.DataFrame, note: str) -> go.Figure:
    words = {"top": "highest 20% of scores", "bottom": "lowest 20%"}
    table = risks[risks["part"] != "all"].assign(words=lambda frame: frame["part"].map(words))
    base = float(risks.loc[risks["part"] == "all", "risk"].iloc[0])
    return grouped_bars(
        table, x="method", group="words", value="risk", low="low", high="high", reference=base,
        title="Wrong answers among the highest and the lowest scores", x_title="", y_title="share of wrong answers",
        legend=f"{note}; bars: Wilson's 95% intervals, over groups. Dashed: all questions",
    )  # fmt: skip


def _cutoff(cutoff: pd.DataFrame, note: str) -> go.Figure:
    figure = lines(
        cutoff, x="layers", y="auroc", low="low", high="high",
        title="The probe on the first layers alone", x_title="layers read, from the first", y_title="AUROC",
        legend=f"{note}; band: 95% interval. 0.5 is chance",
    )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": "#777777", "width": 1, "dash": "dash"})
    return figure


def _weights(heads: pd.DataFrame, note: str) -> go.Figure:
    cells = grid(heads, x="head", y="layer", value="weight")
    used = int((heads["weight"] != 0).sum())
    return signed_heatmap(
        cells.to_numpy(), [str(one) for one in cells.columns], [str(one) for one in cells.index],
        title="Weights of the probe", x_title="head", y_title="layer", unit="log-odds for one SD of the attention",
        legend=f"blue: more attention to the constraint speaks for a right answer. {used} of {len(heads)} heads have a "
        f"weight; fitted on all of {note}. Of heads that go together one may stand for all",
    )  # fmt: skip


def _heads(heads: pd.DataFrame, note: str) -> go.Figure:
    table = heads.assign(above=heads["auroc"] - 0.5, not_told=~heads["discovered"].astype(bool))
    cells, grey = (grid(table, x="head", y="layer", value=name) for name in ("above", "not_told"))
    return signed_heatmap(
        cells.to_numpy(), [str(one) for one in cells.columns], [str(one) for one in cells.index],
        hidden=grey.to_numpy(dtype=bool), hidden_note="grey: not told from chance (false discovery rate 5%)",
        title="Each head's attention to the constraint alone", x_title="head", y_title="layer", unit="AUROC − 0.5",
        legend=f"blue: right answers go with more attention to the constraint. {note}",
    )  # fmt: skip
