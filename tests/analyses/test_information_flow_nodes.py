"""What lies behind the routes of information flow: words, writes, neurons and ranks of nodes, and their drawing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses.information_flow import ANALYSIS, FlowSpec
from analyses.information_flow.drawing import graph_frames
from analyses.information_flow.reading import blocks
from analyses.information_flow.tables import framed, nodes_frame
from hooks.model import Model

TINY = "the cat sat on the mat"


def frames(model: Model, **spec: object) -> Frames:
    return ANALYSIS.conform(ANALYSIS.run(model, Inputs(prompt=TINY), FlowSpec.model_validate(spec), Context()))


def test_the_last_node_says_what_the_model_says(any_tiny: Model) -> None:
    found = frames(any_tiny, words=3, threshold=0.01)
    last = f"R{any_tiny.geometry.n_layers - 1}.{found['prediction']['position'].iloc[0]}"
    words, log_p = found["words"], any_tiny.logits(any_tiny.tokens(TINY))[0, -1].log_softmax(dim=-1)
    read = words[(words["node"] == last) & (words["reading"] == "after the norm")]
    assert read["token_id"].tolist() == log_p.topk(3).indices.tolist()
    np.testing.assert_allclose(read["probability"], log_p.topk(3).values.exp(), rtol=1e-3)
    nodes = found["nodes"].set_index("node")
    assert nodes.loc[last, "rank"] == 0
    assert nodes.loc[last, "flow"] == 1.0
    raw = words[(words["node"] == last) & (words["reading"] == "before the norm")]
    block = next(iter(blocks(any_tiny, any_tiny.tokens(TINY))))
    bias = 0 if any_tiny.b_U is None else any_tiny.b_U
    assert raw["token_id"].tolist() == (block.after[-1] @ any_tiny.W_U + bias).topk(3).indices.tolist()


def test_neurons_and_writes_are_those_of_the_block(any_tiny: Model) -> None:
    found = frames(any_tiny, neurons=100, words=2, threshold=0.01)
    node = next(one for one in found["nodes"]["node"][::-1] if one.startswith("F"))
    layer, place = map(int, node[1:].split("."))
    block = next(one for one in blocks(any_tiny, any_tiny.tokens(TINY)) if one.layer == layer)
    neurons = found["neurons"][found["neurons"]["node"] == node]
    assert 0 < neurons["share"].sum() <= 1
    assert neurons["share"].is_monotonic_decreasing
    first = neurons.iloc[0]
    assert first["activation"] == pytest.approx(float(block.neurons[place, int(first["neuron"])]), rel=1e-4)
    written = found["written"][found["written"]["node"] == node].set_index(["sense", "order"])
    norm = any_tiny.norm(None)
    logits = norm.linear(block.wrote[place], norm.scale(block.after[place])) @ any_tiny.W_U.float()
    np.testing.assert_allclose(written.loc["raises", "logit"], logits.topk(2).values, rtol=1e-3)
    np.testing.assert_allclose(written.loc["lowers", "logit"], logits.topk(2, largest=False).values, rtol=1e-3)


def test_contracted_stretches_carry_what_their_edges_carried(any_tiny: Model) -> None:
    found = frames(any_tiny)
    every, plain = graph_frames(found, by_flow=True, chains=True)
    nodes, edges = graph_frames(found, by_flow=True, chains=False)
    assert len(nodes) <= len(every)
    assert len(edges) - len(nodes) == len(plain) - len(every)
    hidden = sorted(set(every["node"]) - set(nodes["node"]))
    if hidden:
        assert hidden[0] in set(graph_frames(found, by_flow=True, chains=False, keep=hidden[:1])[0]["node"])
    flow = found["nodes"].set_index("node")["flow"]
    into = edges.groupby("target")["weight"].sum()
    np.testing.assert_allclose(into, flow.loc[into.index], atol=1e-5)
    assert set(edges["source"]) | set(edges["target"]) <= set(nodes["node"])


def test_what_lies_behind_a_node_is_told(tiny: Model) -> None:
    found = frames(tiny, threshold=0.01)
    assert ANALYSIS.detail is not None
    for kind, wanted in (("A", "head L"), ("F", "neuron "), ("R", "after the norm: ")):
        node = next(one for one in found["nodes"]["node"][::-1] if one.startswith(kind))
        table = ANALYSIS.detail(found, FlowSpec(), "routes", node, "")
        assert table is not None
        assert any(row.startswith(wanted) for row in table["behind it"])
    assert ANALYSIS.detail(found, FlowSpec(), "heads", "0", "0") is None
    assert ANALYSIS.act is not None
    assert ANALYSIS.act(found, FlowSpec(), "nowhere") is None


def test_a_contracted_stretch_weighs_the_product_of_its_shares() -> None:
    ends = [("E0", "A0.0", "residual", 0.5), ("A0.0", "R0.0", "residual", 0.4), ("R0.0", "A1.0", "residual", 0.3),
            ("A1.0", "F1.0", "FFN", 0.2), ("F1.0", "R1.0", "FFN", 0.2), ("A1.0", "R1.0", "residual", 0.8)]  # fmt: skip
    flow = {"E0": 0.06, "A0.0": 0.12, "R0.0": 0.3, "A1.0": 1.0, "F1.0": 0.2, "R1.0": 1.0}
    said = {"layers": 2, "position": 0, "token": "x", "parallel": False}
    found = {
        "nodes": nodes_frame(flow, {}, dict.fromkeys(flow, (None, 5)), 0), "heads": framed([], "heads"),
        "edges": pd.DataFrame(ends, columns=["source", "target", "kind", "weight"]),
        "tokens": pd.DataFrame({"token": ["a"]}), "prediction": pd.DataFrame([said]),
    }  # fmt: skip
    for by_flow, expected in ((False, 0.5 * 0.4 * 0.3), (True, 0.3)):
        nodes, edges = graph_frames(found, by_flow=by_flow, chains=False)
        assert nodes["node"].tolist() == ["E0", "A1.0", "F1.0", "R1.0"]
        assert edges.set_index(["source", "target"])["weight"].loc[("E0", "A1.0")] == pytest.approx(expected)
    kept, _ = graph_frames(found, by_flow=True, chains=False, keep=["R0.0"])
    assert "R0.0" in set(kept["node"])
    assert len(graph_frames(found, by_flow=True, chains=True)[0]) == len(flow)


def test_ranks_before_and_after_a_block_are_those_of_its_residuals(any_tiny: Model) -> None:
    found = frames(any_tiny)
    nodes, target = found["nodes"].set_index("node"), int(found["prediction"]["token_id"].iloc[0])

    def rank(state: Tensor) -> int:
        norm = any_tiny.norm(None)
        normed = norm.linear(state, norm.scale(state)) + (0 if norm.bias is None else norm.bias)
        logits = normed @ any_tiny.W_U.float() + (0 if any_tiny.b_U is None else any_tiny.b_U.float())
        return int((logits > logits[target]).sum())

    seen = 0
    for block in blocks(any_tiny, any_tiny.tokens(TINY)):
        name, between = ("R", block.after) if block.middle is None else ("A", block.middle)
        for node in nodes.index[nodes.index.str.startswith(f"{name}{block.layer}.")]:
            place, seen = int(node.split(".")[1]), seen + 1
            found_ranks = nodes.loc[node, ["rank_before", "rank"]].tolist()
            assert found_ranks == [rank(block.before[place]), rank(between[place])]
        for node in nodes.index[nodes.index.str.startswith(f"F{block.layer}.")]:
            assert nodes.loc[node, "rank"] == rank(block.after[int(node.split(".")[1])])
    assert seen > 1
