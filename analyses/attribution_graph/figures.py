"""Pictures: the graph over layers and tokens, predicted against measured ablations, influence by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._graphs import drawn
from analyses._plots import glyphs, grouped_bars, token_labels
from analyses._plots.graph import graph as graph_figure
from analyses.attribution_graph.changes import ablations

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec

KINDS = {"feature": "latent", "error": "error", "token": "token", "logit": "next token"}


def names(spec: AttributionGraphSpec) -> tuple[str, ...]:
    """The figures' names in order."""
    ablates = spec.graph is None and (spec.check_interventions or spec.ablate)
    return ("graph", "influence", "interventions") if ablates else ("graph", "influence")


def figures(frames: Frames, spec: AttributionGraphSpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells."""
    made = {"graph": _graph(frames, spec), "influence": _influence(frames)}
    if "interventions" in names(spec):
        made["interventions"] = ablations(frames["interventions"])
    return made


def _title(frames: Frames) -> str:
    said = glyphs(str(frames["scores"]["prompt"].iloc[0])).replace("␣", " ")
    return said if len(said) <= 70 else "…" + said[-68:]


def scores_in_words(scores: pd.Series) -> str:
    """Replacement and completeness, what they are of, and what lacks."""
    replacement, completeness = scores["replacement"], scores["completeness"]
    said = "no influence reaches the tokens, so there is no replacement score"
    if not pd.isna(replacement):
        said = f"replacement score {replacement:.3f}, completeness {completeness:.3f} ({scores['scored']})"
    if scores["covered"] != "not told" and not pd.isna(scores["layers"]):
        covered = [one for one in str(scores["covered"]).split(", ") if one]
        if len(covered) < scores["layers"]:
            listed = f": {', '.join(covered)}" if len(covered) <= 12 else ""
            said += (
                f"; transcoders for {len(covered)} of {scores['layers']} layers{listed}, the other MLPs are all error"
            )
    if not pd.isna(scores["active"]) and scores["traced"] < scores["active"]:
        said += f"; {scores['traced']:,} of {scores['active']:,} active latents traced, the others are in the errors"
    return said


def _graph(frames: Frames, spec: AttributionGraphSpec) -> go.Figure:
    nodes, scores = frames["nodes"], frames["scores"].iloc[0]
    logits, tokens = nodes["kind"] == "logit", list(frames["tokens"]["token"])
    top = nodes["layer"].max() - 1 if len(nodes) else 0
    n_layers = int(top if pd.isna(scores["layers"]) else scores["layers"])
    rows = ["embedding", *(str(layer) for layer in range(n_layers)), "next token"]
    shown = pd.DataFrame({
        "node": nodes["node"], "kind": nodes["kind"].map(KINDS), "column": nodes["position"],
        "row": np.where(logits, n_layers + 1, nodes["layer"] + 1).astype(int),
        "label": [_label(row, tokens) for row in nodes.itertuples()], "value": nodes["influence"],
        "hover": [_hover(row) for row in nodes.itertuples()],
        # Errors all have the same name: without it there is room for latents and next tokens.
        "named": nodes["kind"] != "error",
    })  # fmt: skip
    signed = np.sign(frames["edges"]["weight"]) * frames["edges"]["influence"]
    links = frames["edges"][["source", "target"]].assign(weight=signed)
    kept, edges, note = drawn(shown, links[signed != 0].reset_index(drop=True), spec)
    return graph_figure(
        kept, edges, title=f"Attribution graph: {_title(frames)}", x_labels=token_labels(tokens), y_labels=rows,
        x_title="token", y_title="layer", value_title="influence", weight_title="influence that passes (share)",
        legend=f"{_what(scores)}; {scores_in_words(scores)}. Blue adds to what the target reads, red takes from it.",
        focus=spec.focus, note=note,
    )  # fmt: skip


def _what(scores: pd.Series) -> str:
    before = "" if pd.isna(scores["nodes_before"]) else f" of {scores['nodes_before']:,}"
    between = "" if pd.isna(scores["edges_before"]) else f" of {scores['edges_before']:,}"
    return (f"{scores['graph']}, one prompt; pruned to {scores['nodes']:,}{before} nodes and "
            f"{scores['edges']:,}{between} edges")  # fmt: skip


def _label(row: Any, tokens: list[str]) -> str:
    if row.group:
        return str(row.group)
    if row.kind == "token":
        return glyphs(tokens[row.position]) if row.position < len(tokens) else str(row.index)
    if row.kind == "logit":
        parts = row.label.split('"')
        return glyphs('"'.join(parts[1:-1])) if len(parts) > 2 else row.label or str(row.index)
    return row.label or ("error" if row.kind == "error" else f"#{row.index}")


def _hover(row: Any) -> str:
    said = [str(row.label)] if row.label else []
    said += [f"group {row.group}"] if row.group else []
    said += (
        [f"latent {row.index} of layer {row.layer}, activation {row.activation:.3g}"] if row.kind == "feature" else []
    )
    said += [f"promotes {row.promotes}"] if row.promotes else []
    return "<br>".join(said)


def _influence(frames: Frames) -> go.Figure:
    nodes, scores = frames["nodes"], frames["scores"].iloc[0]
    mine = nodes[nodes["kind"].isin(["feature", "error", "token"])]
    sums = mine.groupby(["layer", "kind"])["influence"].sum().reset_index()
    sums = sums.assign(place=["embed" if layer < 0 else str(layer) for layer in sums["layer"]],
                       kind=sums["kind"].map(KINDS))  # fmt: skip
    whole = mine.groupby("kind")["influence"].sum()
    told = ", ".join(f"{KINDS[kind]}s {whole.get(kind, 0.0):.3f}" for kind in ("token", "error", "feature"))
    return grouped_bars(
        sums.sort_values("layer", kind="stable"), x="place", group="kind", value="influence",
        title=f"Influence by layer: {_title(frames)}", x_title="layer",
        y_title="influence (share of the logits' weight)",
        legend=f"{_what(scores)}; {scores_in_words(scores)}. In the pruned graph: {told}; tokens and errors are where "
        "all paths begin, latents are passed on the way.",
    )  # fmt: skip
