"""The atlas' pictures: a score of every head, two scores against each other, one head's distances, the clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from analyses._common import one_layer
from analyses._contract import Frames
from analyses._plots import grid, lines, scatter, sequential_heatmap, signed_heatmap
from analyses.head_atlas.columns import SCORES
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.head_atlas import AtlasSpec

NAMES = ("map", "scatter", "distances", "clusters")
BANDED = 3
"""Texts below which no band is drawn: that of two would rule the axis."""
NOUNS = {"texts": "text", "repeat": "prompt of repeated random tokens", "automaton": "walk of a random automaton"}
SHORT = {
    "entropy": "entropy", "recency_mass": "recent", "previous_token": "previous", "sink_first": "first token",
    "duplicate_token": "duplicate", "induction": "induction", "gain_2": "two over one",
}  # fmt: skip


def figures(frames: Frames, spec: AtlasSpec) -> dict[str, go.Figure]:
    """The pictures that NAMES tells. Raises InputError for a layer or head that was not read."""
    heads = frames["heads"]
    layer = one_layer([int(one) for one in heads["layer"]], spec.layer)
    if spec.head not in set(heads["head"]):
        raise InputError(f"option head = {spec.head}: valid heads are 0 to {int(heads['head'].max())}")
    return {
        "map": _map(frames, spec),
        "scatter": _scatter(frames, spec),
        "distances": _distances(frames, layer, spec.head),
        "clusters": _clusters(frames),
    }


def behind(frames: Frames, _spec: AtlasSpec, name: str, column: str, row: str) -> pd.DataFrame | None:
    """A cell of the map: that head's strongest weights. Of the clusters: the heads of the cluster."""
    if name == "map":
        examples = frames["examples"]
        here = examples[(examples["layer"] == int(row)) & (examples["head"] == int(column))]
        return here.drop(columns=["layer", "head"]).reset_index(drop=True)
    if name == "clusters":
        heads = frames["heads"]
        here = heads[heads["cluster"] == int(row.split(" ")[0])]
        score = next(one for one, words in SHORT.items() if words == column)
        return here[["layer", "head", *SHORT]].sort_values(score, ascending=False, kind="stable").reset_index(drop=True)
    return None


def _map(frames: Frames, spec: AtlasSpec) -> go.Figure:
    heads, score = frames["heads"], SCORES[spec.score]
    values, low, high = (grid(heads, x="head", y="layer", value=spec.score + end) for end in ("", "_low", "_high"))
    labels = [str(head) for head in values.columns], [str(layer) for layer in values.index]
    notes = [_sample(frames, score.over)]
    if spec.score == "entropy":
        notes.append(f"Collapsed (below {spec.collapse:g}): {int(heads['collapsed'].sum())} of {len(heads)} heads; "
                     f"overloaded (above {spec.overload:g}): {int(heads['overloaded'].sum())}")  # fmt: skip
    if spec.score == "sink_found":
        notes.append(_sinks(frames))
    words: dict[str, Any] = {
        "title": f"{score.title}, every head",
        "x_title": "head",
        "y_title": "layer",
        "unit": score.unit,
    }
    away, said = filtered(heads, spec)
    hidden = grid(heads.assign(away=away), x="head", y="layer", value="away").to_numpy(dtype=bool)
    words |= {"low": low, "high": high, "hidden": hidden if said else None, "hidden_note": f"grey: not {said}"}
    if score.fraction:
        legend = ". ".join([*notes, f"Highest: {_named(heads, spec.score)}"])
        return sequential_heatmap(values, *labels, **words, legend=legend, limits=(0.0, 1.0))
    legend = ". ".join([*notes, "Blue: the longer match is preferred", f"Highest: {_named(heads, spec.score)}"])
    return signed_heatmap(values, *labels, **words, legend=legend)


def filtered(heads: pd.DataFrame, spec: AtlasSpec) -> tuple[pd.Series, str]:
    """([head] which are left out, what the others are in words, empty where nothing filters).

    Raises InputError for a cluster that is not there.
    """
    words: list[str] = []
    kept = pd.Series(True, index=heads.index)
    if spec.only != "all":
        kept &= heads[spec.only].astype(bool)
        words.append(spec.only)
    if spec.only_cluster is not None:
        one_of_clusters = sorted({int(one) for one in heads["cluster"]})
        if spec.only_cluster not in one_of_clusters:
            raise InputError(f"option only_cluster = {spec.only_cluster}: the clusters are {one_of_clusters}")
        kept &= heads["cluster"] == spec.only_cluster
        words.append(f"of cluster {spec.only_cluster}")
    if spec.least is not None:
        kept &= heads[spec.score] >= spec.least
        words.append(f"at least {spec.least:g}")
    return ~kept, f"{', '.join(words)} ({int(kept.sum())} heads are)" if words else ""


def _scatter(frames: Frames, spec: AtlasSpec) -> go.Figure:
    heads = frames["heads"]
    sizes = heads["cluster"].value_counts()
    named = heads.assign(
        name=[f"L{layer}H{head}" for layer, head in zip(heads["layer"], heads["head"], strict=True)],
        words=[f"cluster {number} ({sizes[number]})" for number in heads["cluster"]],
    ).sort_values("cluster", kind="stable")
    x, y = SCORES[spec.x_score], SCORES[spec.y_score]
    samples = dict.fromkeys(_sample(frames, score.over) for score in (x, y))
    return scatter(
        named, x=spec.x_score, y=spec.y_score, label="name", group="words", labelled=14,
        title=f"{y.title} against {_lower(x.title)}", x_title=f"{x.title} ({x.unit})", y_title=f"{y.title} ({y.unit})",
        legend=f"One point a head; colours: k-means clusters. {'; '.join(samples)}",
    )  # fmt: skip


def _distances(frames: Frames, layer: int, head: int) -> go.Figure:
    table = frames["distances"]
    one = table[(table["layer"] == layer) & (table["head"] == head)].assign(who=f"L{layer}H{head}")
    every = table.groupby(["bin", "distance"], sort=False)["mean"].mean().reset_index()
    texts = int((frames["texts"]["over"] == "texts").sum())
    both = pd.concat([one, every.assign(who="all heads, mean")], ignore_index=True)
    if texts < BANDED:
        both[["low", "high"]] = float("nan")
    band = f"; band: 95% over texts, none below {BANDED}" if texts > 1 else ""
    return lines(
        both, x="bin", y="mean", low="low", high="high", group="who", x_labels=list(one.sort_values("bin")["distance"]),
        title=f"How far back L{layer}H{head} looks", x_title="query − key (tokens); the first token by itself",
        y_title="share of attention", legend=f"{_sample(frames, 'texts')}; the shares of a head add up to 1{band}",
    )  # fmt: skip


def _clusters(frames: Frames) -> go.Figure:
    clusters = frames["clusters"]
    values = grid(clusters, x="score", y="cluster", value="standardised", x_order=list(SHORT))
    sizes = clusters.drop_duplicates("cluster").set_index("cluster")["heads"]
    return signed_heatmap(
        values, list(SHORT.values()), [f"{number} ({sizes[number]} heads)" for number in values.index],
        title="Clusters of heads", x_title="score", y_title="cluster", unit="standard deviations",
        legend="Blue: the cluster's heads have more of it than the mean head, in standard deviations over heads. "
        f"{'; '.join(dict.fromkeys(_sample(frames, one.over) for one in SCORES.values()))}",
        upside_down=True,
    )  # fmt: skip


def _sample(frames: Frames, over: str) -> str:
    count = int((frames["texts"]["over"] == over).sum())
    noun = NOUNS[over]
    plural = noun.replace("prompt ", "prompts ").replace("walk ", "walks ") if " " in noun else f"{noun}s"
    return f"One {noun}" if count == 1 else f"Mean of {count} {plural}"


def _sinks(frames: Frames) -> str:
    sinks = frames["sinks"]
    if sinks.empty:
        return "No token was found to be a sink"
    later = sinks[sinks["position"] > 0]
    return f"{len(sinks)} sinks found, {len(later)} of them not a text's first token"


def _named(heads: pd.DataFrame, score: str, count: int = 3) -> str:
    best = heads.nlargest(count, score)
    return ", ".join(
        f"L{layer}H{head} {value:.2f}"
        for layer, head, value in zip(best["layer"], best["head"], best[score], strict=True)
    )


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]
