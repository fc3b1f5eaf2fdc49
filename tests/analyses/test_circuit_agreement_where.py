"""Circuit agreement's picture of the disagreements: what is drawn, in which colours, and where."""

from __future__ import annotations

import pytest

from analyses._contract import Context, Frames, Inputs
from analyses._plots.graph import COLOURS, SYMBOLS
from analyses.circuit_agreement import ANALYSIS, CircuitAgreementSpec, run
from hooks.model import Model
from tests.pairs import OTHER, PAIR

SPEC = CircuitAgreementSpec(methods=("eap_ig", "dla"), steps=2, top=4, listed=6, draw="dla")
KINDS = ("missed", "overrated", "embed", "logits")


@pytest.fixture(scope="module")
def found(tiny: Model) -> Frames:
    return run(tiny, Inputs(pairs=(PAIR, OTHER)), SPEC, Context())


@pytest.mark.parametrize("gone", [None, "missed", "overrated"])
def test_a_kind_keeps_its_colour_and_shape(found: Frames, gone: str | None) -> None:
    wrong = found["disagreements"]
    some = found | {"disagreements": wrong[wrong["how"] != gone]}
    shown = {
        trace.name: (trace.marker.color, trace.marker.symbol)
        for trace in ANALYSIS.figures(some, SPEC)["where"].data
        if trace.name in KINDS
    }
    assert set(shown) == set(KINDS) - {gone}
    assert all(shown[kind] == (COLOURS[KINDS.index(kind)], SYMBOLS[KINDS.index(kind)]) for kind in shown)


def test_an_edge_without_weight_is_not_drawn_and_a_shared_one_once(found: Frames) -> None:
    edges = found["edges"]
    assert (edges["source"] == "embed").any()
    nothing = edges.assign(score=edges["score"].where(edges["source"] != "embed", 0.0))
    meta = ANALYSIS.figures(found | {"edges": nothing}, SPEC)["where"].layout.meta
    assert len(meta["weight"])
    assert min(abs(weight) for weight in meta["weight"]) > 0
    assert "embed" not in meta["nodes"]["node"]
    before = ANALYSIS.figures(found, SPEC)["where"].layout.meta
    assert "embed" in before["nodes"]["node"]


def test_every_row_and_column_has_a_node(found: Frames) -> None:
    meta = ANALYSIS.figures(found, SPEC)["where"].layout.meta
    for place, labels in (("row", "y_labels"), ("column", "x_labels")):
        assert set(meta["nodes"][place]) == set(range(len(meta[labels])))
    at = zip(meta["nodes"]["node"], meta["nodes"]["row"], meta["nodes"]["column"], strict=True)
    for node, row, column in at:
        if node.startswith("L"):
            assert node == f"L{meta['y_labels'][row]}H{meta['x_labels'][column]}"


def test_no_disagreement_is_said(found: Frames) -> None:
    same = found | {"disagreements": found["disagreements"].head(0), "edges": found["edges"].head(0)}
    meta = ANALYSIS.figures(same, SPEC)["where"].layout.meta
    assert meta["nodes"]["node"] == []
    assert "No rank differs by half or more" in " ".join(meta["notes"])
