"""One prompt: the routes of its prediction, and what lies behind each of their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from analyses._contract import Context, Frames
from analyses.information_flow.drilling import AFTER, Drill, Row
from analyses.information_flow.reading import Block, blocks
from analyses.information_flow.routes import Routes, stream
from analyses.information_flow.tables import framed, nodes_frame
from hooks.capture import run_with_cache

if TYPE_CHECKING:
    from hooks.model import Model


@torch.no_grad()
def flow_frames(model: Model, ids: Sequence[int], routes: Routes, words: int, neurons: int, context: Context) -> Frames:
    """The frames of `tables.COLUMNS` for the prediction after the last of these tokens."""
    tokens = torch.tensor([list(ids)], device=model.device)
    layers, last = model.geometry.n_layers, len(ids) - 1
    context.progress(0.0, "reading the prompt")
    log_p = run_with_cache(model, tokens, last_only=True).logits[0, -1].float().log_softmax(dim=-1)
    predicted = int(log_p.argmax())
    drill = Drill(model, words, neurons, predicted)
    routes.start(stream(layers - 1, last))
    reached = [last]
    for done, block in enumerate(blocks(model, tokens)):
        context.progress(0.6 * done / layers, f"layer {block.layer}")
        reached = _down(block, routes, drill, reached)
    context.progress(0.6, f"reading {len(routes.flow)} nodes")
    read, ranks = drill.read_states()
    tops = {row["node"]: row["token"] for row in read if row["reading"] == AFTER and not row["order"]}
    summary = {"position": last, "token": model.str_tokens([predicted])[0], "token_id": predicted,
               "probability": float(log_p[predicted].exp()), "layers": layers, "heads": model.geometry.n_heads,
               "text": str(model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)),
               "parallel": model.geometry.parallel_blocks, "threshold": routes.threshold,
               "ended": len(routes.ended)}  # fmt: skip
    frames = {
        "nodes": nodes_frame(routes.flow, tops, _before_and_here(routes, ranks, model.geometry.parallel_blocks), last),
        "edges": framed(routes.edges, "edges"), "heads": framed(routes.heads, "heads"),
        "words": framed(read, "words"),
    }  # fmt: skip
    context.progress(0.8, "reading what the blocks wrote")
    return frames | {
        "written": framed(drill.read_writes(), "written"), "neurons": framed(drill.read_neurons(), "neurons"),
        "tokens": framed(_tokens(model, ids, routes), "tokens"), "prediction": framed([summary], "prediction"),
    }  # fmt: skip


def _down(block: Block, routes: Routes, drill: Drill, reached: Sequence[int]) -> list[int]:
    """Through a block; the nodes that it has on the routes are kept to be read, and the embeddings below the first."""
    below = routes.down(block, reached)
    drill.collect(block, [node for node in routes.flow if node[0] != "E" and node[1:].startswith(f"{block.layer}.")])
    if block.layer == 0:
        drill.states |= {stream(-1, place): block.before[place].clone() for place in below}
    return below


def _before_and_here(
    routes: Routes, ranks: dict[str, int], parallel: bool
) -> dict[str, tuple[int | None, int]]:  # fmt: skip
    """Of every node the predicted token's rank before the block that ends there, None for no single one, and there."""
    found: dict[str, tuple[int | None, int]] = {}
    for node in routes.flow:
        kind, (layer, _, place) = node[0], node[1:].partition(".")
        if kind == "F":
            found[node] = (None if parallel else ranks[f"A{layer}.{place}"], ranks[f"R{layer}.{place}"])
        elif kind == ("R" if parallel else "A"):
            found[node] = (ranks[stream(int(layer) - 1, int(place))], ranks[node])
        else:
            found[node] = (None, ranks[node])
    return found


def _tokens(model: Model, ids: Sequence[int], routes: Routes) -> list[Row]:
    """Every token's share of the prediction and its strongest route; zero and nothing for those on no route."""
    rows = []
    for place, (text, token) in enumerate(zip(model.str_tokens(list(ids)), ids, strict=True)):
        node = stream(-1, place)
        on = node in routes.flow
        rows.append({"position": place, "token": text, "token_id": int(token), "flow": routes.flow.get(node, 0.0),
                     "strongest": routes.best.get(node, 0.0), "path": routes.path(node) if on else ""})  # fmt: skip
    return rows
