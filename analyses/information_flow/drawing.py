"""The routes as the two frames of a drawn graph: chains of nothing but residual stream contracted, nodes named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analyses._contract import Frames
from analyses._plots import glyphs
from analyses.information_flow.tables import KINDS

RESIDUAL = "residual"


def graph_frames(
    frames: Frames, *, by_flow: bool, chains: bool, keep: Iterable[str | None] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Nodes and edges as `analyses._graphs` wants them.

    An edge weighs the share of the prediction that runs along it (`by_flow`), or the source's share in the target.
    Without `chains`, nodes between one residual edge in and one out are left out and their shares multiplied, but for
    those of `keep`.
    """
    flow = frames["nodes"].set_index("node")["flow"]
    edges = frames["edges"].assign(via=frames["edges"]["kind"])
    # What goes into an FFN is all of it: the share on that edge is the FFN's in the residual after it.
    whole = edges["target"].str.startswith("F").to_numpy()
    through = flow.loc[edges["target"]].to_numpy() * np.where(whole, 1.0, edges["weight"])
    edges = edges.assign(through=through)
    if not chains:
        edges = _contracted(edges, {*_kept(frames), *keep})
    used = {*edges["source"], *edges["target"], *_kept(frames)}
    nodes = _nodes(frames)
    weight = "through" if by_flow else "weight"
    drawn = edges.groupby(["source", "target"], sort=False)[[weight]].sum().reset_index()
    return nodes[nodes["node"].isin(used)].reset_index(drop=True), drawn.rename(columns={weight: "weight"})


def _kept(frames: Frames) -> list[str]:
    """Nodes that no contraction takes: embeddings, FFNs, marked blocks, and the prediction's own."""
    nodes, said = frames["nodes"], frames["prediction"].iloc[0]
    fixed = nodes["kind"].isin([KINDS["E"], KINDS["F"]]) | nodes["marked"]
    return [*nodes.loc[fixed, "node"], f"R{said['layers'] - 1}.{said['position']}"]


def _contracted(edges: pd.DataFrame, fixed: set[str | None]) -> pd.DataFrame:
    """Every chain of residual edges as one edge, its weight their product, its flow that of its last edge."""
    rows: list[dict[str, Any]] = edges.to_dict("records")  # type: ignore[assignment]
    into, out = defaultdict(list), defaultdict(list)
    for row in rows:
        into[row["target"]].append(row)
        out[row["source"]].append(row)

    def passes(node: str) -> bool:
        alone = len(into[node]) == 1 and len(out[node]) == 1
        return node not in fixed and alone and into[node][0]["kind"] == out[node][0]["kind"] == RESIDUAL

    joined = []
    for row in rows:
        if passes(row["target"]):
            continue
        source, weight = row["source"], row["weight"]
        while passes(source):
            below = into[source][0]
            source, weight = below["source"], weight * below["weight"]
        joined.append(row | {"source": source, "weight": weight})
    return pd.DataFrame(joined, columns=list(edges.columns))


def _nodes(frames: Frames) -> pd.DataFrame:
    """All nodes with their places, labels and hovers."""
    nodes, said = frames["nodes"], frames["prediction"].iloc[0]
    each = 1 if said["parallel"] else 2
    row = np.where(nodes["kind"] == KINDS["A"], each * nodes["layer"] + 1, each * (nodes["layer"] + 1))
    tokens, heads = frames["tokens"]["token"].tolist(), _strongest_heads(frames["heads"])
    labels, hovers, named = [], [], []
    rows: list[dict[str, Any]] = nodes.to_dict("records")  # type: ignore[assignment]
    for node in rows:
        kind, marked = node["kind"], "▲ " if node["marked"] else ""
        read = glyphs(tokens[node["position"]] if kind == KINDS["E"] else str(node["top"]))
        label = {KINDS["F"]: f"FFN {node['layer']}", KINDS["A"]: heads.get(node["node"], ("", ""))[0]}.get(kind, read)
        labels.append(marked + (label or read))
        named.append(bool(marked or kind == KINDS["F"] or node["node"] in heads or node["top"] == said["token"]))
        more = [f"read here: {read}"] if kind not in (KINDS["E"], KINDS["F"]) else []
        more += [f"heads: {heads[node['node']][1]}"] if node["node"] in heads else []
        hovers.append("\n".join([*more, *_ranks(node)]))
    return pd.DataFrame({"node": nodes["node"], "kind": nodes["kind"], "row": row, "column": nodes["position"],
                         "label": labels, "value": nodes["flow"], "hover": hovers, "named": named,
                         "slot": np.where(nodes["kind"] == KINDS["F"], 0, 1)})  # fmt: skip


def _strongest_heads(heads: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Of every node that other positions are read into: its strongest head, and the strongest three with their keys."""
    moved = heads[heads["source_position"] != heads["target_position"]]
    found = {}
    for node, rows in moved.sort_values("share", ascending=False, kind="stable").groupby("target", sort=False):
        first: list[dict[str, Any]] = rows.head(3).to_dict("records")  # type: ignore[assignment]
        listed = [f"H{one['head']} from {one['source_position']} ({one['share']:.2f})" for one in first]
        more = f" +{len(rows) - 1}" if len(rows) > 1 else ""
        found[str(node)] = (f"L{first[0]['layer']}H{first[0]['head']}{more}", ", ".join(listed))
    return found


def _ranks(node: dict[str, Any]) -> list[str]:
    if pd.isna(node["rank"]):
        return []
    before = "" if pd.isna(node["rank_before"]) else f"{node['rank_before']:,} → "
    return [f"rank of the predicted token {before}{node['rank']:,}"]
