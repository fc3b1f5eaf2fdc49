"""Pictures of the comparison: who agrees with whom, estimate against truth, who foretells it, who is wrong where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._circuits.pairs import LEFT_OUT
from analyses._common import sample_note
from analyses._contract import Frames
from analyses._plots import grid, grouped_bars, scatter, signed_heatmap
from analyses.circuit_agreement.ranking import AMONG, EXPLAINED, SIGN, SIZE, TOP
from analyses.circuit_agreement.scoring import GRAPH, SIGNLESS, TRUTH, WORDS
from analyses.circuit_agreement.where import NOTHING, where

if TYPE_CHECKING:
    from analyses.circuit_agreement import CircuitAgreementSpec

NAMES = ("agreement", "truth", "prediction", "disagreements", "where")
METRIC_WORDS = {"logit_diff": "logit difference", "log_prob": "log-probability of the answer"}
MEASURES = {
    SIZE: "rank correlation",
    AMONG: "among the strongest",
    TOP: "strongest in common",
    SIGN: "signs right",
    EXPLAINED: "effect explained",
}


def drawn_method(spec: CircuitAgreementSpec) -> str:
    """The method that three of the pictures are about: the one chosen, or the first computed."""
    return spec.draw or spec.methods[0]


def figures(frames: Frames, spec: CircuitAgreementSpec) -> dict[str, go.Figure]:
    """The five pictures of `NAMES`."""
    method = drawn_method(spec)
    return {
        "agreement": _agreement(frames, spec),
        "truth": _truth(frames, method),
        "prediction": _prediction(frames),
        "disagreements": _disagreements(frames, method),
        "where": where(frames, spec, method, _own(frames, method)),
    }


def _whose(frames: Frames) -> str:
    pairs = frames["pairs"]
    used = pairs[pairs["use"] != LEFT_OUT]
    said = sample_note(used["logit_diff"], dropped=len(pairs) - len(used), noun="prompt pair")
    return f"{said}; metric: {METRIC_WORDS[frames['about']['metric'].iloc[0]]}"


def _own(frames: Frames, method: str) -> str:
    """`_whose`, and of how many pairs the method's numbers are where that is fewer."""
    counts = frames["nodes"].groupby("method", sort=False)["prompts"].first()
    fewer = f"; {WORDS[method]}: {counts[method]} of {counts[TRUTH]} pairs" if counts[method] < counts[TRUTH] else ""
    return _whose(frames) + fewer


def _agreement(frames: Frames, spec: CircuitAgreementSpec) -> go.Figure:
    rows = frames["agreement"]
    rows = rows[rows["by"] == spec.compare]
    methods, most = list(dict.fromkeys(rows["first"])), rows["nodes"].max()
    mirrored = rows[rows["first"] != rows["second"]].rename(columns={"first": "second", "second": "first"})
    both = pd.concat([rows, mirrored], ignore_index=True)
    value, low, high = (
        grid(both, x="first", y="second", value=name, x_order=methods, y_order=methods)
        for name in ("correlation", "low", "high")
    )
    labels = [WORDS[method] for method in methods]
    how = "sizes of scores" if spec.compare == SIZE else "scores with their signs, of methods that have one"
    fewer = f"; {WORDS[GRAPH]}: over {rows['nodes'].min()} MLPs" if rows["nodes"].min() < most else ""
    counted = "" if rows["prompts"].max() == 1 else ", prompt by prompt"
    figure = signed_heatmap(
        value, labels, labels, title="How methods rank the same nodes", x_title="method", y_title="method",
        unit="rank correlation", limit=1.0, low=low, high=high, upside_down=True,
        legend=f"{_whose(frames)}. Spearman's correlation of {how} over {most} heads and MLPs{counted}{fewer}. Blue: "
        "ranked alike; ablation is the true effect",
    )  # fmt: skip
    said = [[f"{one:.2f}".replace("-", "−") if np.isfinite(one) else "" for one in row] for row in value.to_numpy()]
    return figure.update_traces(text=said, texttemplate="%{text}", textfont_size=9, selector={"type": "heatmap"})


def _truth(frames: Frames, method: str) -> go.Figure:
    unit, nodes = frames["about"]["unit"].iloc[0], frames["nodes"]
    truth = nodes[nodes["method"] == TRUTH].rename(columns={"mean": "true"})[["node", "kind", "true"]]
    own = nodes[nodes["method"] == method].rename(columns={"mean": "score"})[["node", "score"]]
    both = truth.merge(own, on="node").assign(kind=lambda rows: rows["kind"].map({"head": "head", "mlp": "MLP"}))
    name, signed = WORDS[method], method not in SIGNLESS
    more = "Below 0: corrupting the node harms, so it helps the answer"
    return scatter(
        both, x="true", y="score", label="node", group="kind", identity=signed, correlation=False,
        title=f"{name[0].upper()}{name[1:]} against ablation", x_title=f"true effect by ablation ({unit})",
        y_title=f"{name} ({'share' if method in ('flow', GRAPH) else unit})",
        legend=f"{_own(frames, method)}. One point a node. "
        + (more if signed else f"{more}. Without a sign, the score should grow to both sides of 0"),
    )  # fmt: skip


def _prediction(frames: Frames) -> go.Figure:
    about, rows = frames["about"].iloc[0], frames["prediction"]
    rows = rows[rows["measure"].isin(MEASURES)]
    sized = rows[rows["measure"] == SIZE].sort_values("mean", ascending=False, kind="stable")
    place = {method: number for number, method in enumerate(sized["method"])}
    rows = rows.assign(name=rows["method"].map(WORDS), words=rows["measure"].map(MEASURES))
    order = [place[method] * len(MEASURES) + list(MEASURES).index(one) for method, one in
             zip(rows["method"], rows["measure"], strict=True)]  # fmt: skip
    rows = rows.iloc[np.argsort(order)]
    chance = rows.loc[rows["measure"] == TOP, "chance"]
    expected = f"{chance.min():.2f}" + (f" to {chance.max():.2f}" if chance.nunique() > 1 else "")
    bounded = "" if rows["prompts"].max() == 1 else ", 95% intervals over prompts"
    return grouped_bars(
        rows, x="name", group="words", value="mean", low="low", high="high", y_title="correlation, or share",
        x_title="method, best rank correlation first", title="Which method foretells the ablation",
        legend=f"{_whose(frames)}{bounded}. {_winners(rows)}. Among: rank correlation over the "
        f"ablation's {about['top']} strongest; in common: share of a method's strongest that are these "
        f"(chance {expected}); signs: theirs (chance 0.5); explained: 1 − squared "
        "errors ÷ squared effects, where large effects rule",
    )  # fmt: skip


def _winners(rows: pd.DataFrame) -> str:
    """Which methods are best, and by what."""
    best = rows[rows["best"]]
    won = [f"{name} ({', '.join(part['words'])})" for name, part in best.groupby("name", sort=False)]
    return f"Best: {'; '.join(won)}" if won else "None scores every node"


def _disagreements(frames: Frames, method: str) -> go.Figure:
    rows, nodes, about = frames["disagreements"], frames["nodes"], frames["about"].iloc[0]
    rows, name, shared = rows[rows["method"] == method], WORDS[method], method in SIGNLESS
    ranks = zip(rows["node"], rows["true_rank"], rows["rank"], strict=True)
    places = [f"{node} ({true} → {rank})" for node, true, rank in ranks]
    parts = []
    for which, columns in ((TRUTH, ["effect", "low", "high"]), (method, ["score", "score_low", "score_high"])):
        largest = nodes.loc[nodes["method"] == which, "mean"].abs().max() if shared else 1.0
        part = rows[columns].set_axis(["value", "low", "high"], axis=1) / (largest or np.nan)
        parts.append(part.assign(node=places, by=WORDS[which]))
    said = (
        f"In brackets: rank by ablation → by {name}. Of the {about['top']} strongest of either, those whose ranks are "
        "farthest apart by ratio"
    )
    return grouped_bars(
        pd.concat(parts, ignore_index=True), x="node", group="by", value="value", low="low", high="high",
        x_title="node", y_title="score ÷ the method's largest" if shared else f"effect ({about['unit']})",
        title=f"Where {name} and ablation disagree",
        legend=f"{_own(frames, method)}. {NOTHING if rows.empty else said}",
    )  # fmt: skip
