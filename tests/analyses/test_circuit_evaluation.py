"""Circuit evaluation: its ends, its formulas by hand, pairs held out, random circuits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._circuits.kept import Circuit
from analyses._circuits.selection import select
from analyses._contract import Frames, Inputs
from analyses._pairs import ids_of
from analyses.circuit_evaluation import ANALYSIS, EvaluationSpec
from analyses.circuit_evaluation.circuits import masks_of
from hooks.edges import circuit_values, edge_graph, read_outputs, written
from hooks.errors import InputError
from hooks.load import load
from hooks.metrics import logit_diff
from hooks.model import Model
from hooks.pairs import PromptPair, align
from tests.analyses.evaluated import THIRD, frames, kept, notes
from tests.pairs import OTHER, PAIR


def value(found: Frames, measure: str, size: int, whose: str = "found", ablation: str = "resample") -> pd.Series:
    rows = found["curves"]
    chosen = rows[
        (rows["measure"] == measure)
        & (rows["size"] == size)
        & (rows["whose"] == whose)
        & (rows["ablation"] == ablation)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


@pytest.mark.parametrize("ablation", ["resample", "mean", "zero"])
def test_all_edges_are_faithful_and_complete(any_tiny: Model, ablation: str) -> None:
    found = frames(any_tiny, PAIR, OTHER, THIRD, ablations=[ablation], sizes=[10_000], nodes_out=0, draws=1)
    whole = edge_graph(any_tiny.geometry).n_edges
    for measure in ("faithfulness", "completeness"):
        row = value(found, measure, whole, ablation=ablation)
        assert row["edges"] == whole
        assert row["mean"] == pytest.approx(1, abs=1e-4)
    assert set(found["curves"]["measure"]) == {"faithfulness", "completeness"}


def test_shares_are_their_formulas(tiny: Model) -> None:
    artifact, circuit = kept(tiny)
    found = frames(tiny, PAIR, OTHER, artifact=artifact, circuit="c", sizes=[20], nodes_out=1, draws=1)
    graph = circuit.graph
    mine = select(graph, circuit.scores, "greedy", size=20)
    values = []
    for pair in (PAIR, OTHER):
        one = align(tiny, pair)
        clean, corrupted = ids_of(tiny, one)
        replaced = written(tiny, graph, read_outputs(tiny, graph, corrupted))
        masks = torch.from_numpy(np.stack([np.ones_like(mine), np.zeros_like(mine), mine, ~mine]))
        metric = logit_diff(one.answer_id, one.distractor_id)
        values.append(circuit_values(tiny, graph, clean, masks, replaced, metric).double().numpy())
    full, empty, alone, cut = np.mean(values, axis=0)
    assert value(found, "faithfulness", 20)["mean"] == pytest.approx((alone - empty) / (full - empty), rel=1e-4)
    assert value(found, "completeness", 20)["mean"] == pytest.approx((full - cut) / (full - empty), rel=1e-4)
    # The empty circuit is the corrupted run.
    described = found["pairs"]
    assert empty == pytest.approx(described["corrupted_metric"].mean(), abs=1e-5)
    assert full == pytest.approx(described["clean_metric"].mean(), abs=1e-5)
    # The kept circuit's own edges are one more size.
    own = int(circuit.kept.sum())
    assert value(found, "faithfulness", own)["edges"] == own


def test_edges_are_scored_on_one_half_and_measured_on_the_other(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER, THIRD)
    use = found["pairs"].set_index("pair")["use"]
    assert sorted(use) == ["held out", "scored", "scored"]
    assert set(found["values"]["pair"]) == set(use.index[use == "held out"])
    alone = frames(tiny, PAIR)
    assert list(alone["pairs"]["use"]) == ["scored and measured"]
    assert "which edges were scored on too" in notes(alone)
    assert "scored by EAP-IG (inputs) on 2 other pairs of these" in notes(found)


def test_pairs_that_a_kept_circuit_has_seen_are_left_out(tiny: Model) -> None:
    artifact, _ = kept(tiny, PAIR)
    found = frames(tiny, PAIR, OTHER, THIRD, artifact=artifact, circuit="c")
    assert list(found["pairs"]["use"]) == ["scored", "held out", "held out"]
    assert set(found["values"]["pair"]) == {1, 2}
    again = frames(tiny, PAIR, artifact=artifact, circuit="c")
    assert list(again["pairs"]["use"]) == ["scored and measured"]


def test_random_circuits_have_as_many_edges(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER, draws=3)
    circuits = found["circuits"]
    alone = circuits[circuits["kind"] == "circuit alone"]
    for _, part in alone.groupby("size"):
        assert part["edges"].nunique() == 1
        assert list(part["whose"].value_counts()[["found", "random", "random, same nodes"]]) == [1, 3, 3]
        mine = part.loc[part["whose"] == "found", "nodes"].iloc[0]
        assert (part.loc[part["whose"] == "random, same nodes", "nodes"] <= mine).all()
    assert set(found["differences"]["control"]) == {"random", "random, same nodes"}
    row = found["differences"].iloc[0]
    mine, other = (value(found, row["measure"], row["size"], whose)["mean"] for whose in ("found", row["control"]))
    assert row["mean"] == pytest.approx(mine - other, rel=1e-6)
    one = frames(tiny, PAIR, OTHER, controls=["anywhere"])
    assert set(one["curves"]["whose"]) == {"found", "random"}


def test_sizes_that_leave_nothing_are_told(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER, selection="top_n", sizes=[1, 150])
    rows = found["curves"]
    assert (rows.loc[rows["size"] == 1, "edges"] == 0).all()
    assert value(found, "faithfulness", 1)["mean"] == pytest.approx(0, abs=1e-4)
    assert "1 of the sizes left no edge" in notes(found)


def test_intervals_are_over_the_held_out_pairs(tiny: Model) -> None:
    artifact, _ = kept(tiny)
    rows = frames(tiny, PAIR, OTHER, THIRD, artifact=artifact, circuit="c")["curves"]
    assert (rows["prompts"] == 3).all()
    known = rows[np.isfinite(rows["low"])]
    assert (known["low"] <= known["mean"]).all()
    assert (known["mean"] <= known["high"]).all()


def test_a_circuit_of_another_model_is_refused(tiny: Model, models_folder: Path) -> None:
    artifact, _ = kept(tiny)
    with pytest.raises(InputError, match="is of a model of"):
        frames(load("toy:gpt2", models_folder), PAIR, artifact=artifact, circuit="c")


def test_acdc_is_measured_at_its_own_size_alone(tiny: Model) -> None:
    artifact, circuit = kept(tiny, method="acdc")
    found = frames(tiny, PAIR, OTHER, artifact=artifact, circuit="c")
    assert set(found["curves"]["size"]) == {int(circuit.kept.sum())}
    assert "measured at its own size alone" in notes(found, circuit="c")
    artifact.tensors["kept"][:] = False
    with pytest.raises(InputError, match="ACDC, which cut every edge"):
        frames(tiny, PAIR, artifact=artifact, circuit="c")


def test_minimality_is_a_size_whatever_the_effects_sign(tiny: Model) -> None:
    artifact, _ = kept(tiny)
    pairs = (PAIR, OTHER, THIRD)
    turned = [PromptPair(one.clean, one.corrupted, one.distractor, one.answer) for one in pairs]
    rows = [frames(tiny, *given, artifact=artifact, circuit="c")["curves"] for given in (pairs, turned)]
    one, other = (part.loc[part["measure"] == "minimality", "mean"] for part in rows)
    assert (one >= 0).all()
    assert (one > 0).any()
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_two_controls_are_not_the_same_draws(tiny: Model) -> None:
    graph = edge_graph(tiny.geometry)
    whole = Circuit(graph, np.random.default_rng(0).normal(size=graph.n_edges), np.zeros(graph.n_edges, dtype=bool), {})
    spec = EvaluationSpec(sizes=(graph.n_edges - 10,), selection="greedy", draws=1, nodes_out=0)
    masks = masks_of(whole, spec)
    alone = masks.rows[masks.rows["kind"] == "circuit alone"]
    assert (alone.loc[alone["whose"] == "found", "nodes"] == len(graph.nodes)).all()
    one, other = (masks.kept[alone.index[alone["whose"] == name][0]] for name in ("random", "random, same nodes"))
    assert one.sum() == other.sum()
    assert (one != other).any()


def test_sizes_below_one_and_rounding_noise_are_refused(tiny: Model) -> None:
    given = Inputs(pairs=(PAIR, OTHER))
    assert ANALYSIS.check is not None
    for spec, said in (
        ({"sizes": [30, 0]}, "option sizes 0"),
        ({"sizes": [-5]}, "option sizes -5"),
        ({"method": "eap", "metric": "divergence"}, "no slope in the clean run"),
    ):
        with pytest.raises(InputError, match=said):
            ANALYSIS.check(tiny, given, EvaluationSpec.model_validate(spec))
    ANALYSIS.check(tiny, given, EvaluationSpec(circuit="c", method="eap", metric="divergence"))
