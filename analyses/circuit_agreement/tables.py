"""The tables of the comparison: nodes by method, agreement, prediction, and the nodes that methods are wrong about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._circuits.pairs import PAIRS
from analyses._common import FOUND, HEAD, LAYER, interval
from analyses._contract import Column
from analyses._patching_table import ROUNDING
from analyses._stats import Floats, discoveries, mean_interval
from analyses.circuit_agreement.ranking import Scores, named, over_pairs, strongest, together, top_of
from analyses.circuit_agreement.scoring import SIGNLESS, TRUTH

if TYPE_CHECKING:
    from analyses.circuit_agreement import CircuitAgreementSpec

MISSED, OVERRATED = "missed", "overrated"
LEAST_APART = 0.5
"""Doublings of rank from which on two ranks disagree: 3 for 2 does, 9 for 8 does not."""
METRIC = "metric"


def nodes_table(nodes: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """The frame that `NODES` declares, method after method; `nodes` has node, kind, layer and head."""
    parts = []
    for method, values in scores.items():
        pairs, places, both = together(values, values)
        numbers = both[0]
        mean, low, high = mean_interval(numbers)
        found = np.zeros(len(places), dtype=bool)
        if method not in SIGNLESS:
            found = discoveries(np.where(np.abs(numbers) < ROUNDING, 0.0, numbers)).found
        rank = pd.Series(np.abs(mean)).rank(ascending=False, method="first").astype(int)
        part = nodes.iloc[places].reset_index(drop=True)
        parts.append(part.assign(method=method, mean=mean, low=low, high=high, rank=rank, discovered=found,
                                 prompts=len(pairs)))  # fmt: skip
    return pd.concat(parts, ignore_index=True)[[column.name for column in NODES]]


def values_table(nodes: pd.DataFrame, scores: Scores, pairs: list[int]) -> pd.DataFrame:
    """The frame that `VALUES` declares; `pairs` [pair] are their numbers."""
    parts = []
    for method, values in scores.items():
        places, members, both = together(values, values)
        for place, numbers in zip(places, both[0], strict=True):
            part = nodes.iloc[members].assign(pair=pairs[place], method=method, score=numbers)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)[[column.name for column in VALUES]]


def disagreements_table(nodes: pd.DataFrame, scores: Scores, top: int, listed: int) -> pd.DataFrame:
    """The frame that `DISAGREEMENTS` declares: of every method the nodes that it ranks most differently from the truth,
    of those that are among the `top` of either.

    Ranks are compared by their ratio: rank 40 for rank 2 is far, rank 240 for rank 200 is not.
    """
    rows: list[dict[str, Any]] = []
    for method in scores:
        if method != TRUTH:
            rows += _farthest(nodes, method, scores, top, listed)
    frame = pd.DataFrame(rows, columns=[column.name for column in DISAGREEMENTS])
    whole = dict.fromkeys(("layer", "rank", "true_rank"), "int64") | {"head": "Int64"}
    numbers = dict.fromkeys(("doublings", "score", "score_low", "score_high", "effect", "low", "high"), "float64")
    return frame.astype(whole | numbers)


def _farthest(nodes: pd.DataFrame, method: str, scores: Scores, top: int, listed: int) -> list[dict[str, Any]]:
    _, members, both = together(scores[method], scores[TRUTH])
    means = both.mean(axis=1)
    own, true = (pd.Series(np.abs(one)).rank(ascending=False, method="first").to_numpy() for one in means)
    count = top_of(top, len(members))
    either = np.flatnonzero(strongest(means[0], count) | strongest(means[1], count))
    apart = np.log2(own / true)
    order = either[np.lexsort((true[either], -np.abs(apart[either])))]
    return [
        nodes.iloc[members[place]].to_dict()
        | {"rank": int(own[place]), "true_rank": int(true[place]), "doublings": float(apart[place])}
        | _apart(method, both[:, :, place], float(apart[place]))
        for place in order[:listed]
        if abs(apart[place]) >= LEAST_APART
    ]


def _apart(method: str, both: Floats, apart: float) -> dict[str, Any]:
    score, truth = over_pairs(both[0]), over_pairs(both[1])
    signs = "none" if method in SIGNLESS else "same" if np.sign(score.value) == np.sign(truth.value) else "opposite"
    return {
        "method": method, "how": MISSED if apart > 0 else OVERRATED, "sign": signs,
        **named(score, "score", "score_low", "score_high"), **named(truth, "effect"),
    }  # fmt: skip


def with_commands(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The same with a column `check`: the command that ablates the node's layer, to which the prompts are added."""
    words = [
        f"interp run component_ablation --components {'heads' if kind == 'head' else 'mlp_out'} --layers {layer} "
        f"--ablation resample --metric {metric}"
        for kind, layer in zip(frame["kind"], frame["layer"], strict=True)
    ]
    return frame.assign(check=words)


_NODE = (
    Column("node", "", "head (L9H6) or MLP (MLP9)"),
    Column("kind", "", "head or mlp"),
    LAYER,
    Column("head", "", f"{HEAD.description}; missing for MLPs"),
)
_METHOD = Column("method", "", "ablation (the true effect), patching, atp, eap, eap_ig, edge_sizes, dla, flow or graph")
_SCORE = "what corrupting the node does to the metric, by this method (flow and graph: a share)"
NODES = (
    *_NODE,
    _METHOD,
    *interval(METRIC, f"mean over prompts: {_SCORE}"),
    Column("rank", "", "place among the nodes by size of the mean, 1 for the largest"),
    *FOUND,
)
AGREEMENT = (
    Column("first", "", "a method"),
    Column("second", "", "another, or the same"),
    Column("by", "", "size: ranks of |score|; signed: ranks of scores, of methods that have a sign"),
    Column("nodes", "count", "nodes that both score"),
    Column("correlation", "", "Spearman's rank correlation over nodes, mean over prompts"),
    Column("low", "", "lower end of its 95% interval over prompts; missing for one prompt"),
    Column("high", "", "upper end"),
    Column("of_means", "", "the same correlation of the scores' means over prompts"),
    FOUND[1],
)
PREDICTION = (
    Column("measure", "", "size, signed: rank correlation with the ablation; among: of sizes, over its strongest; "
           "top: share of the method's strongest that are the ablation's; sign: share of the ablation's strongest with "
           "the right sign; explained: 1 − sum of squared errors over sum of squared effects"),
    _METHOD,
    Column("mean", "", "the measure, mean over prompts"),
    Column("low", "", "lower end of its 95% interval over prompts; missing for one prompt"),
    Column("high", "", "upper end"),
    Column("chance", "", "what chance gives, or saying 0 of every node"),
    Column("of_means", "", "the measure of the scores' means over prompts"),
    Column("best", "", "has the largest mean of the methods that score all nodes, chosen on these prompts"),
    Column("difference", "", "mean over prompts of this method less the best, on the same nodes; missing for the best"),
    Column("difference_low", "", "lower end of its 95% interval"),
    Column("difference_high", "", "upper end"),
    Column("nodes", "count", "nodes that it scores"),
    FOUND[1],
)  # fmt: skip
DISAGREEMENTS = (
    _METHOD,
    *_NODE,
    Column("how", "", f"{MISSED}: ablation ranks it higher than the method; {OVERRATED}: lower"),
    Column("rank", "", "by the method, among the nodes that it scores; 1 for the largest"),
    Column("true_rank", "", "by ablation, among the same"),
    Column("doublings", "", "log2 of rank over true rank"),
    Column("sign", "", "same as the ablation's, opposite, or none"),
    Column("score", METRIC, "by the method, mean over prompts"),
    Column("score_low", METRIC, "lower end of its 95% interval over prompts; missing for one prompt"),
    Column("score_high", METRIC, "upper end"),
    Column("effect", METRIC, "by ablation, mean over prompts"),
    Column("low", METRIC, "lower end of its 95% interval"),
    Column("high", METRIC, "upper end"),
    Column("check", "", "command that ablates it for real; add the prompts (--set, --file or --clean …)"),
)
EDGES = (
    Column("source", "", "a node, or embed"),
    Column("input", "", "what it leads to: a head's q, its group's k or v, an MLP, logits"),
    Column("feeds", "", "the nodes that the input belongs to, separated by commas"),
    Column("score", METRIC, "what corrupting this edge does to the metric, by the edges' method; mean over prompts"),
)
VALUES = (
    Column("pair", "", "pair number"),
    *_NODE,
    _METHOD,
    Column("score", METRIC, _SCORE),
)
ABOUT = (
    Column("metric", "", "logit_diff or log_prob"),
    Column("unit", "", "of scores and effects"),
    Column("top", "count", "how many nodes count as the strongest"),
    Column("edges", "", "the method of the edges that are drawn: eap_ig, eap or none"),
    Column("steps", "count", "points of integrated gradients"),
)
COLUMNS = {"nodes": NODES, "agreement": AGREEMENT, "prediction": PREDICTION, "disagreements": DISAGREEMENTS,
           "edges": EDGES, "about": ABOUT, "pairs": PAIRS, "values": VALUES}  # fmt: skip


def about_table(spec: CircuitAgreementSpec, unit: str, edges: str) -> pd.DataFrame:
    """The frame that `ABOUT` declares."""
    return pd.DataFrame([
        {"metric": spec.metric, "unit": unit, "top": spec.top, "edges": edges, "steps": spec.steps}
    ])  # fmt: skip
