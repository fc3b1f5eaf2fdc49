"""Attribution graphs: tables add up, ablations do what the edges say, kept graphs are shown, bad input is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses._dictionaries.kept import KIND, contents, cross_contents
from analyses.attribution_graph import AttributionGraphSpec, run
from analyses.attribution_graph.figures import figures, names, scores_in_words
from data.artifacts import Artifact
from data.graph_files import KIND as GRAPH
from data.graph_files import GraphFile, GraphNode, graph_of
from data.graph_files import contents as graph_contents
from hooks.dictionaries import CrossLayer, Dictionary, Placed
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.attribution_toys import INPUTS, kept_transcoders, traced
from tests.analyses.in_memory import Kept, one
from tests.hooks.replacement_toys import tensors


def test_nodes_edges_and_scores_agree(tiny: Model) -> None:
    frames = traced(tiny, node_threshold=1.0, edge_threshold=1.0)
    nodes, edges, scores = frames["nodes"], frames["edges"], frames["scores"].iloc[0]
    assert (scores["nodes"], scores["edges"]) == (len(nodes), len(edges))
    assert 0 < scores["replacement"] < scores["completeness"] < 1
    assert scores["largest_gap"] < 1e-5
    assert (scores["covered"], scores["scored"]) == ("0, 1, 2", "before pruning")
    shares = edges.groupby("target")["share"].sum()
    assert np.allclose(shares, 1.0)
    # nothing was pruned: what flows back from the logits ends in tokens and errors, and gives the score
    starts = nodes[nodes["kind"].isin(["token", "error"])].groupby("kind")["influence"].sum()
    assert starts["token"] / starts.sum() == pytest.approx(scores["replacement"], rel=1e-4)
    inflow = edges.groupby("source")["influence"].sum()
    assert np.allclose(nodes.set_index("node")["influence"][inflow.index], inflow)
    logits = one(nodes, kind="logit")
    assert logits["probability"].is_monotonic_decreasing
    assert not one(nodes, kind="feature")["activation"].isna().any()
    assert one(nodes, kind="feature", position=0).empty


def test_pruning_leaves_less(tiny: Model) -> None:
    every, few = traced(tiny, node_threshold=1.0, edge_threshold=1.0), traced(tiny, node_threshold=0.5)
    assert len(few["nodes"]) < len(every["nodes"])
    assert len(few["edges"]) < len(every["edges"])
    assert few["scores"]["replacement"].iloc[0] == every["scores"]["replacement"].iloc[0]
    assert len(one(few["nodes"], kind="token")) == len(few["tokens"])


def test_ablations_do_what_the_edges_say(tiny: Model) -> None:
    frames = traced(tiny, node_threshold=1.0, edge_threshold=1.0)
    found = frames["interventions"]
    assert found["source"].nunique() == 4
    assert np.allclose(found["direct"], found["held"], atol=1e-5)
    edges = frames["edges"].set_index(["source", "target"])["weight"]
    for row in found.itertuples():
        assert row.direct == pytest.approx(-edges.get((row.source, row.target), 0.0), abs=1e-6)
    assert (found["held"].abs() > 1e-3).any()
    assert not np.allclose(found["free"], found["held"], atol=1e-3)


def test_a_cap_is_told(tiny: Model) -> None:
    scores = traced(tiny, most_features=10)["scores"].iloc[0]
    assert scores["traced"] == 10 < scores["active"]
    assert f"10 of {scores['active']} active latents traced" in scores_in_words(scores)
    assert scores["largest_gap"] < 1e-5


def test_layers_without_a_transcoder_are_told(tiny: Model) -> None:
    frames = traced(tiny, kept_transcoders(tiny, (1,)), node_threshold=1.0)
    said = scores_in_words(frames["scores"].iloc[0])
    assert "transcoders for 1 of 3 layers: 1, the other MLPs are all error" in said
    assert set(one(frames["nodes"], kind="feature")["layer"]) == {1}
    assert set(one(frames["nodes"], kind="error")["layer"]) == {0, 1, 2}


def test_a_cross_layer_set(tiny: Model) -> None:
    parts = []
    for place in range(3):
        own = tensors(tiny, place, 3 - place)
        own["b_dec"][tiny.geometry.d_model :] = 0
        parts.append(Dictionary.of(own, {"architecture": "standard", "centred": False}))
    kept = Kept()
    crossing = CrossLayer((0, 1, 2), tuple(parts), tiny.identity.as_dict())
    kept._keep("mine", KIND, *cross_contents(crossing, {}))
    frames = traced(tiny, kept, node_threshold=1.0, edge_threshold=1.0)
    assert frames["scores"]["largest_gap"].iloc[0] < 1e-5
    assert np.allclose(frames["interventions"]["direct"], frames["interventions"]["held"], atol=1e-5)


def test_a_kept_graph_is_shown_with_its_marks(tiny: Model) -> None:
    kept = kept_transcoders(tiny)
    first = traced(tiny, kept, keep_as="g")
    assert kept.artifacts["g"].kind == GRAPH
    nodes = one(first["nodes"], kind="feature")
    latent, other = nodes["node"].iloc[0], nodes["node"].iloc[1]
    spec = AttributionGraphSpec(
        graph="g", label=(f"{latent.rsplit('_', 1)[0]}=a plural",), supernode=(f"two={latent}, {other}",), keep_as="h"
    )
    shown = run(tiny, INPUTS, spec, kept.context(use=lambda _field: kept.artifacts["g"]))
    assert one(shown["nodes"], node=latent)["label"].item() == "a plural"
    assert set(shown["nodes"].loc[shown["nodes"]["group"] == "two", "node"]) == {latent, other}
    assert shown["edges"].equals(first["edges"])
    assert graph_of(kept.artifacts["h"]).supernodes == (("two", (latent, other)),)
    assert names(spec) == ("graph", "influence")
    assert set(figures(shown, spec)) == {"graph", "influence"}


def test_a_foreign_graph_is_scored_as_it_is(tiny: Model) -> None:
    nodes = (
        GraphNode("feature", 0, 1, 3, influence=0.4, activation=2.0), GraphNode("error", 0, 1, -1),
        GraphNode("token", -1, 1, 5), GraphNode("logit", 27, 1, 8, 'Output "x" (p=0.500)', probability=0.5),
    )  # fmt: skip
    file = GraphFile(
        {"slug": "s", "scan": "other", "prompt": "a b", "prompt_tokens": ["a", " b"]}, nodes,
        ((2, 0, 3.0), (0, 3, -1.0), (1, 3, 3.0)),
    )  # fmt: skip
    artifact = Artifact("theirs", GRAPH, *reversed(graph_contents(file)), "r")  # type: ignore[arg-type]
    frames = run(tiny, INPUTS, AttributionGraphSpec(graph="theirs"), Kept().context(use=lambda _field: artifact))
    scores = frames["scores"].iloc[0]
    assert scores["replacement"] == pytest.approx(0.25)
    # flows: logit .5, feature .125, error .375, token .125; of the logit's inputs 3/4 are errors
    assert scores["completeness"] == pytest.approx((0.5 * 0.25 + 0.125 + 0.375 + 0.125) / 1.125)
    assert scores["scored"] == "pruned"
    route = "␣b → L0 #3 @1 ␣b → x"
    assert frames["paths"]["route"].tolist() == [route, route, "L0 error @1 ␣b → x"]
    assert frames["paths"]["start"].tolist() == ["token", "token, through latents", "error"]
    assert frames["paths"]["sign"].tolist() == [-1, -1, 1]
    assert frames["paths"]["share"].tolist() == pytest.approx([0.25, 0.25, 0.75])
    drawn = figures(frames, AttributionGraphSpec(graph="theirs"))["graph"]
    assert drawn.layout.meta["y_labels"][-1] == "next token"
    assert len(drawn.layout.meta["y_labels"]) == 28


def test_small_transcoders_are_trained_where_none_are_named(tiny: Model) -> None:
    spec = AttributionGraphSpec(drawn=150, check_interventions=2, node_threshold=1.0)
    frames = run(tiny, INPUTS, spec, Kept().context())
    assert frames["scores"]["graph"].iloc[0] == "transcoders trained on the spot"
    assert set(one(frames["nodes"], kind="feature")["layer"]) <= {0, 1, 2}
    assert set(figures(frames, spec)) == set(names(spec)) == {"graph", "influence", "interventions"}


def test_without_a_latent_tokens_and_errors_are_taken_away(tiny: Model) -> None:
    settings, d = {"architecture": "standard", "centred": False}, tiny.geometry.d_model
    nothing = {"W_enc": torch.zeros(d, 4), "W_dec": torch.zeros(4, d), "b_enc": torch.zeros(4), "b_dec": torch.zeros(d)}
    kept = Kept()
    silent = Placed(Dictionary.of(nothing, settings), Site(1, "ln2_normalized"), Site(1, "mlp_out"),
                    tiny.identity.as_dict())  # fmt: skip
    kept._keep("mine", KIND, *contents([silent], {}))
    frames = traced(tiny, kept)
    assert set(frames["interventions"]["source"].str[:2]) == {"E_", "0_"}
    assert np.allclose(frames["interventions"]["direct"], frames["interventions"]["held"], atol=1e-5)
    assert one(frames["nodes"], kind="feature").empty
    assert set(figures(frames, AttributionGraphSpec(transcoders="mine"))) == {"graph", "influence", "interventions"}
