"""The frames of information flow, and the declaration of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analyses._contract import Column
from analyses._plots import glyphs

KINDS = {"E": "embedding", "A": "after attention", "F": "FFN", "R": "after block"}
_NODE = Column("node", "", "E5: embedding at position 5; A3.5, F3.5, R3.5: after layer 3's attention, its FFN, its end")
_EDGE = (
    Column("source", "", "node that is read"),
    Column("target", "", "node that it is a part of"),
    Column("layer", "", "layer of the block in between"),
    Column("source_position", "", "token position of the source, from 0"),
    Column("target_position", "", "token position of the target"),
)
_TOKEN = (Column("token", "", "the token"), Column("token_id", "", "its id"))

COLUMNS: dict[str, tuple[Column, ...]] = {
    "nodes": (
        _NODE,
        Column("kind", "", "embedding, after attention, FFN or after block"),
        Column("layer", "", "layer, −1 for the embedding"),
        Column("position", "", "token position, from 0"),
        Column("flow", "fraction", "share of the prediction that runs through this node, over all routes kept"),
        Column("top", "", "likeliest token when it is read here after the final norm; missing for an FFN"),
        Column("rank", "count", "tokens held more likely here than the predicted one; for an FFN, after it"),
        Column("rank_before", "count", "the same before the block that ends here (attention, FFN); else missing"),
        Column("marked", "", "the last position's block that ends here at least halves the predicted token's rank, "
               "counted from 1, to under 1,000"),
    ),
    "edges": (*_EDGE[:2], Column("kind", "", "residual, attention (sum over heads) or FFN"), *_EDGE[2:],
              Column("weight", "fraction", "share of the source in the target (METHODS § 8)")),
    "heads": (
        *_EDGE,
        Column("head", "", "attention head"),
        Column("share", "fraction", "the head's part of the edge's share"),
        Column("flow", "fraction", "that share times the flow through the target"),
    ),
    "neurons": (
        _NODE,
        *_EDGE[2:3],
        Column("position", "", "token position, from 0"),
        Column("neuron", "", "neuron of the FFN"),
        Column("share", "fraction", "its share in the residual after the block, the other parts being all neurons and "
               "the rest of it"),
        Column("activation", "", "what multiplies its output weights"),
        Column("raises", "", "the three tokens that its output raises most, at the sign of its activation"),
    ),
    "words": (
        _NODE,
        Column("reading", "", "before the norm: unembedded as it is; after the norm: through the final norm first"),
        Column("order", "", "0 is the likeliest"),
        *_TOKEN,
        Column("probability", "fraction", "its probability in this reading"),
    ),
    "written": (
        Column("node", "", "A, or R of a parallel block: what attention wrote; F: what the FFN wrote"),
        Column("sense", "", "raises or lowers"),
        Column("order", "", "0 is moved most"),
        *_TOKEN,
        Column("logit", "logits", "what the write adds to its logit at the norm's scale after the block"),
    ),
    "tokens": (
        Column("position", "", "token position, from 0"),
        *_TOKEN,
        Column("flow", "fraction", "share of the prediction that comes from this token, over all routes kept"),
        Column("strongest", "fraction", "product of the shares along its strongest route"),
        Column("path", "", "blocks on that route; the residual stream between them goes unsaid"),
    ),
    "prediction": (
        Column("position", "", "position after which is predicted"),
        *_TOKEN,
        Column("probability", "fraction", "its probability"),
        Column("text", "", "the prompt up to there"),
        Column("layers", "count", "layers of the model"),
        Column("heads", "count", "heads of a layer"),
        Column("parallel", "", "attention and FFN of a block run in parallel"),
        Column("threshold", "fraction", "parts with at most this share are left out"),
        Column("ended", "count", "nodes on the routes none of whose parts is above the threshold"),
    ),
}  # fmt: skip
MARK, HIGH = 2.0, 1000
"""How far the rank of the predicted token must fall for a mark, and where to at least."""


def framed(rows: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as the declared frame; a list of tokens is written with glyphs, side by side."""
    names = [column.name for column in COLUMNS[name]]
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    return pd.DataFrame(plain, columns=names)


def _plain(value: Any) -> Any:
    return ", ".join(glyphs(one) for one in value) if isinstance(value, list) else value


def _gained(before: int, here: int) -> bool:
    return here < HIGH and before + 1 >= MARK * (here + 1)


def nodes_frame(
    flow: Mapping[str, float], tops: Mapping[str, str], ranks: Mapping[str, tuple[int | None, int]], last: int
) -> pd.DataFrame:
    """All nodes reached, from the embeddings up. `ranks`: of a node (before its block, here); `last`: the position."""
    rows = []
    for node, share in flow.items():
        place = node[1:].split(".")
        layer, position = (-1, int(place[0])) if node[0] == "E" else (int(place[0]), int(place[1]))
        before, here = ranks[node]
        rows.append({"node": node, "kind": KINDS[node[0]], "layer": layer, "position": position, "flow": share,
                     "top": tops.get(node), "rank": here, "rank_before": before,
                     "marked": position == last and before is not None and _gained(before, here)})  # fmt: skip
    frame = framed(rows, "nodes")
    order = frame["kind"].map({kind: place for place, kind in enumerate(KINDS.values())})
    frame = frame.assign(order=order).sort_values(["layer", "position", "order"], kind="stable")
    counts = {name: frame[name].astype("Int64") for name in ("rank", "rank_before")}
    return frame.assign(**counts).drop(columns="order").reset_index(drop=True)
