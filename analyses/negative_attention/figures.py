"""Pictures of negative attention: heads, the bias of the answers, and what masking changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._common import grey_over, sample_note
from analyses._contract import Frames
from analyses._plots import bars, grid, grouped_bars, signed_heatmap
from analyses.negative_attention.tables import ACCURACY, ALL, ODDS, SAID_NO

if TYPE_CHECKING:
    from analyses.negative_attention import NegativeSpec

NAMES = ("heads", "bias", "masking", "odds")


def figures(frames: Frames, spec: NegativeSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    tasks = frames["tasks"]
    towards = np.where(tasks["no_true"], tasks["odds"], -tasks["odds"])
    note = sample_note(towards, noun="question", did="right candidate preferred", clusters=list(tasks["group"]))
    return {
        "heads": _heads(frames["heads"], note, spec),
        "bias": _bias(frames["bias"], note),
        "masking": _masking(frames["effects"], note, spec),
        "odds": _odds(frames["effects"], note, spec),
    }


def _heads(heads: pd.DataFrame, note: str, spec: NegativeSpec) -> go.Figure:
    table = heads.assign(grey=~heads["discovered"].astype(bool))
    cells, grey, low, high = (grid(table, x="head", y="layer", value=name) for name in ("mean", "grey", "low", "high"))
    return signed_heatmap(
        cells.to_numpy(), [str(one) for one in cells.columns], [str(one) for one in cells.index],
        hidden=grey.to_numpy(dtype=bool), hidden_note=grey_over(heads), low=low.to_numpy(), high=high.to_numpy(),
        title="Negative attention score", x_title="head", y_title="layer", unit="nats",
        legend=f"blue: the last {spec.final} tokens look more at no, red: more at yes. {note}",
    )  # fmt: skip


def _bias(bias: pd.DataFrame, note: str) -> go.Figure:
    return grouped_bars(
        bias, x="truth", group="measure", value="value", low="low", high="high", reference=0.5,
        title="Bias of the answers", x_title="which questions", y_title="share of questions",
        legend=f"without a bias no is said as often as it is true. {note}; bars: 95% intervals over groups. "
        "Dashed: one half",
    )  # fmt: skip


def _masking(effects: pd.DataFrame, note: str, spec: NegativeSpec) -> go.Figure:
    table = effects[effects["measure"].isin([ACCURACY, SAID_NO])]
    return grouped_bars(
        table, x="arm", group="measure", value="difference", low="low", high="high",
        title="Masking a candidate from the top heads", x_title="", y_title="difference of the share",
        legend=f"{_chosen(spec)}. {note}; bars: 95% intervals over groups, paired",
    )  # fmt: skip


def _odds(effects: pd.DataFrame, note: str, spec: NegativeSpec) -> go.Figure:
    table = effects[effects["measure"] == ODDS]
    return bars(
        table, label="arm", value="difference", low="low", high="high", title="Odds of no when a candidate is masked",
        unit="change of log p(no) − log p(yes), nats",
        legend=f"blue: towards no. {_chosen(spec)}. {note}; bars: 95% intervals over groups, paired",
    )  # fmt: skip


def _chosen(spec: NegativeSpec) -> str:
    return (
        f"{spec.top_heads} heads of largest score, chosen in one half of the groups and tried in the other; random: "
        f"{spec.random_sets} sets of as many others"
    )


__all__ = ["ALL", "NAMES", "figures"]
