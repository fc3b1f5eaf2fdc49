"""Edge attribution: what its tables say is what hooks compute, every method makes a circuit, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from analyses._circuits.kept import circuit_of
from analyses._circuits.scoring import AnyMethod
from analyses._circuits.selection import prune
from analyses._contract import Context, Frames, Inputs
from analyses._pairs import ids_of
from analyses.edge_attribution import ANALYSIS, EdgeAttributionSpec, check
from analyses.edge_attribution.computing import run
from data.artifacts import Artifact
from hooks.edges import circuit_values, edge_graph, edge_scores, exact_by_definition, read_outputs, written
from hooks.errors import InputError
from hooks.metrics import logit_diff
from hooks.model import Model
from hooks.pairs import PromptPair, align
from tests.pairs import OTHER, PAIR

METHODS: tuple[AnyMethod, ...] = ("eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted", "exact", "acdc")
LONGER = PromptPair("Then " + PAIR.clean, "Then " + PAIR.corrupted, PAIR.answer, PAIR.distractor)


def frames(model: Model, *pairs: PromptPair, **spec: object) -> Frames:
    return run(model, Inputs(pairs=pairs), EdgeAttributionSpec.model_validate(spec), Context())


def test_scores_are_those_of_each_pair(any_tiny: Model) -> None:
    found = frames(any_tiny, PAIR, OTHER, LONGER, steps=2)
    graph = edge_graph(any_tiny.geometry)
    each = []
    for pair in (PAIR, OTHER, LONGER):
        one = align(any_tiny, pair)
        metric = logit_diff(one.answer_id, one.distractor_id)
        each.append(edge_scores(any_tiny, graph, *ids_of(any_tiny, one), metric, steps=2).scores[0].numpy())
    wanted = np.mean(each, axis=0)
    edges = found["edges"].set_index("edge")
    assert len(edges) == graph.n_edges
    np.testing.assert_allclose(edges.loc[list(graph.edge_names), "mean"], wanted, atol=1e-5, rtol=1e-4)
    assert (edges["low"] <= edges["mean"]).all()
    assert list(edges["rank"]) == list(range(1, graph.n_edges + 1))
    nodes = found["nodes"].set_index("node")
    leaving = edges.groupby("source")["mean"].sum()
    np.testing.assert_allclose(nodes.loc[leaving.index, "mean"], leaving, atol=1e-6)
    assert np.isnan(nodes.loc["logits", "mean"])
    assert found["circuit"]["sum"].iloc[0] == pytest.approx(wanted.sum(), abs=1e-4)


def test_exact_patching_is_its_definition(tiny: Model) -> None:
    found = frames(tiny, PAIR, method="exact")
    one = align(tiny, PAIR)
    graph = edge_graph(tiny.geometry)
    wanted = exact_by_definition(tiny, graph, *ids_of(tiny, one), logit_diff(one.answer_id, one.distractor_id))
    edges = found["edges"].set_index("edge").loc[list(graph.edge_names), "mean"]
    np.testing.assert_allclose(edges, wanted, atol=5e-5)
    assert found["edges"]["low"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_circuit_without_loose_ends(tiny: Model, method: AnyMethod) -> None:
    kept: dict[str, Any] = {}
    context = Context(keep=lambda *given: kept.update(given=given))
    spec = EdgeAttributionSpec(method=method, steps=2, size=40, selection="greedy", threshold=0.05, keep_as="c")
    found = run(tiny, Inputs(pairs=(PAIR, OTHER)), spec, context)
    name, kind, tensors, meta = kept["given"]
    circuit = circuit_of(Artifact(name, kind, meta, tensors, "r"), tiny)
    np.testing.assert_array_equal(prune(circuit.graph, circuit.kept), circuit.kept)
    row = found["circuit"].iloc[0]
    assert row["kept"] == circuit.kept.sum() == found["edges"]["kept"].sum() > 0
    assert row["nodes"] == found["nodes"]["kept"].sum()
    assert circuit.about["method"] == method
    assert len(circuit.about["seen"]) == 2
    values = []
    for pair in (PAIR, OTHER):
        one = align(tiny, pair)
        clean, corrupted = ids_of(tiny, one)
        replaced = written(tiny, circuit.graph, read_outputs(tiny, circuit.graph, corrupted))
        metric = logit_diff(one.answer_id, one.distractor_id)
        masks = torch.from_numpy(circuit.kept)[None]
        values.append(float(circuit_values(tiny, circuit.graph, clean, masks, replaced, metric)[0]))
    assert row["circuit"] == pytest.approx(np.mean(values), abs=1e-5)
    assert row["faithfulness"] == pytest.approx(
        (row["circuit"] - row["empty"]) / (row["full"] - row["empty"]), rel=1e-6
    )


def test_all_edges_are_the_model(tiny: Model) -> None:
    row = frames(tiny, PAIR, OTHER, size=100_000, steps=1)["circuit"].iloc[0]
    assert row["kept"] == row["edges"]
    assert row["faithfulness"] == pytest.approx(1, abs=1e-5)


def test_acdc_has_its_own_circuit_and_no_intervals(tiny: Model) -> None:
    every = frames(tiny, PAIR, method="acdc", threshold=-1e9)
    assert every["edges"]["kept"].all()
    assert every["edges"]["low"].isna().all()
    assert every["circuit"]["selection"].iloc[0] == "acdc"
    assert set(ANALYSIS.figures(every, EdgeAttributionSpec())) == {"circuit", "scores", "heads"}


def test_a_threshold_that_no_edge_reaches_is_refused(tiny: Model) -> None:
    largest = frames(tiny, PAIR, steps=1)["edges"]["mean"].abs().max()
    with pytest.raises(InputError, match=rf"threshold 1e\+09: the largest score is {largest:.3g} logits"):
        frames(tiny, PAIR, steps=1, selection="threshold", threshold=1e9)
    with pytest.raises(InputError, match=r"threshold 1e\+09 cuts every edge; the costliest cut costs [0-9.]+ logits"):
        frames(tiny, PAIR, method="acdc", threshold=1e9)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite number"):
            EdgeAttributionSpec(threshold=value)


def test_listing_fewer_edges_keeps_the_circuits(tiny: Model) -> None:
    found = frames(tiny, PAIR, size=60, listed=5, steps=1)["edges"]
    assert found["kept"].sum() + (~found["kept"] & (found["rank"] <= 5)).sum() == len(found)
    assert {1, 2, 3, 4, 5} <= set(found["rank"])


def test_what_cannot_be_traced_is_refused(tiny: Model) -> None:
    inputs = Inputs(pairs=(PAIR,))
    for spec, words in (
        ({"method": "exact", "edge_budget": 100}, r"exact patching runs edges one by one and this graph has 190"),
        ({"method": "acdc", "edge_budget": 100}, "restrict layers, raise edge_budget"),
        ({"layers": [5]}, "valid layers are 0 to 2"),
        ({"metric": "divergence", "method": "eap"}, "divergence has no slope in the clean run"),
        ({"keep_as": "My Circuit"}, "use lower-case letters"),
    ):
        with pytest.raises(InputError, match=words):
            check(tiny, inputs, EdgeAttributionSpec.model_validate(spec))
    assert len(frames(tiny, PAIR, method="exact", edge_budget=100, layers=[1])["edges"]) == 8 + 5 + 6


def test_a_pair_without_an_effect_is_named(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    both = frames(tiny, PAIR, OTHER, steps=1)["pairs"]
    gaps = (both["clean_metric"] - both["corrupted_metric"]).abs()
    monkeypatch.setattr("analyses._circuits.pairs.LEAST_GAP", float(gaps.mean()))
    left = frames(tiny, PAIR, OTHER, steps=1)
    assert sorted(left["pairs"]["use"]) == ["no effect", "scored"]
    assert left["circuit"]["prompts"].iloc[0] == 1
    monkeypatch.setattr("analyses._circuits.pairs.LEAST_GAP", float(gaps.max()))
    with pytest.raises(InputError, match=r"no total effect to trace: logit_diff is .* of the pair 'When John"):
        frames(tiny, PAIR, steps=1)


@pytest.mark.parametrize("metric", ["log_prob", "divergence"])
def test_other_metrics(tiny: Model, metric: str) -> None:
    row = frames(tiny, PAIR, OTHER, metric=metric, steps=2)["circuit"].iloc[0]
    assert row["unit"] == "nats"
    if metric == "divergence":
        assert row["full"] == pytest.approx(0, abs=1e-6)
        assert row["empty"] < -1e-3
