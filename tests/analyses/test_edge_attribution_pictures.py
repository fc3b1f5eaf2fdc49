"""Edge attribution's marks and pictures: what they count, what colours mean, what is said of an empty circuit."""

from __future__ import annotations

import numpy as np
import pytest

from analyses._contract import Inputs
from analyses._plots.theme import NEGATIVE, POSITIVE
from analyses.edge_attribution import ANALYSIS, EdgeAttributionSpec, check
from hooks.edges import edge_graph
from hooks.errors import InputError
from hooks.model import Model
from hooks.pairs import PromptPair
from tests.analyses.test_edge_attribution import LONGER, frames
from tests.pairs import OTHER, PAIR


def test_one_edge_that_is_no_whole_way_is_no_circuit(tiny: Model) -> None:
    found = frames(tiny, PAIR, steps=1, size=1)
    assert not found["edges"]["kept"].any()
    assert "No circuit" in " ".join(ANALYSIS.figures(found, EdgeAttributionSpec())["circuit"].layout.meta["notes"])


def test_marks_are_over_all_edges_whatever_is_listed(tiny: Model) -> None:
    words = ("store", "park", "house", "garden", "station", "office")
    pairs = [
        PromptPair(*(one.replace("store", word) for one in (PAIR.clean, PAIR.corrupted)), PAIR.answer, PAIR.distractor)
        for word in words
    ]
    every, few = (
        frames(tiny, *pairs, steps=1, size=20, listed=listed)["edges"].set_index("edge") for listed in (1000, 30)
    )
    assert 20 < len(few) < len(every) == edge_graph(tiny.geometry).n_edges
    assert 0 < every["discovered"].sum() < len(every)
    for name in ("mean", "low", "high", "discovered"):
        np.testing.assert_array_equal(few[name], every.loc[few.index, name])


def test_the_circuit_is_drawn(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER, size=40, selection="greedy", steps=2)
    spec = EdgeAttributionSpec(most_edges=10, pinned=("L0H0",), least_weight=0.01)
    drawn = ANALYSIS.figures(found, spec)["circuit"].layout.meta
    assert drawn["y_labels"] == ["embed", "0", "1", "2", "logits"]
    assert drawn["x_labels"] == ["0", "1", "2", "3", "MLP"]
    assert len(drawn["weight"]) == 10
    assert "Red: corrupting it harms" in " ".join(drawn["notes"])
    whole = ANALYSIS.figures(found, EdgeAttributionSpec())
    weights = whole["circuit"].layout.meta["weight"]
    kept = found["edges"].loc[found["edges"]["kept"], "mean"]
    assert sum(weights) == pytest.approx(kept.sum())
    assert f"{len(weights)} lines for {len(kept)} edges" in " ".join(drawn["notes"])
    assert f"drawn: 10 of {len(weights)} lines" in " ".join(drawn["notes"])
    colours = {trace.name.split()[0]: trace.line.color for trace in whole["scores"].data}
    assert colours == {"helps": NEGATIVE, "works": POSITIVE}
    unsure = found["circuit"].assign(low=-np.inf, high=np.inf)
    said = ANALYSIS.figures(found | {"circuit": unsure}, spec)["circuit"].layout.meta["notes"]
    assert "the whole effect cannot be told from 0" in " ".join(said)
    assert ANALYSIS.detail is not None
    assert ANALYSIS.act is not None
    busy = found["nodes"].sort_values("edges_in").iloc[-1]["node"]
    table = ANALYSIS.detail(found, spec, "circuit", busy, "")
    assert table is not None
    assert len(table) >= found["nodes"].set_index("node").loc[busy, "edges_in"]
    name, options = ANALYSIS.act(found, spec, "L1H2") or ("", {})
    assert (name, options["layers"], options["components"]) == ("component_ablation", [1], ["heads"])
    assert ANALYSIS.act(found, spec, "logits") is None


def test_positions_sum_to_the_edges(any_tiny: Model) -> None:
    found = frames(any_tiny, PAIR, OTHER, steps=2, by_position=True)
    apart, edges = found["positions"], found["edges"].set_index("edge")
    assert apart["edge"].nunique() == 30
    assert list(apart["edge"].unique()) == list(edges.index[:30])
    sums = apart.groupby("edge")["mean"].sum()
    np.testing.assert_allclose(sums, edges.loc[sums.index, "mean"], atol=1e-4, rtol=1e-3)
    # Nothing differs before the token at which the prompts do.
    first = apart.groupby("position")["mean"].apply(lambda part: part.abs().max())
    assert first.iloc[0] == pytest.approx(0, abs=1e-6)
    assert first.max() > 1e-3
    spec = EdgeAttributionSpec(by_position=True)
    assert ANALYSIS.pictures is not None
    drawn = ANALYSIS.figures(found, spec)
    assert tuple(drawn) == ANALYSIS.pictures(spec) == ("circuit", "scores", "heads", "positions")


def test_positions_need_one_length_and_gradients(tiny: Model) -> None:
    with pytest.raises(InputError, match="by_position needs scores by gradients, not exact patching"):
        check(tiny, Inputs(pairs=(PAIR,)), EdgeAttributionSpec(by_position=True, method="exact"))
    with pytest.raises(InputError, match="all pairs must have one length"):
        check(tiny, Inputs(pairs=(PAIR, LONGER)), EdgeAttributionSpec(by_position=True))
