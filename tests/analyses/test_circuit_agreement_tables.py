"""Circuit agreement's tables, on scores that are planted: who is wrong comes last, and is listed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.circuit_agreement.ranking import agreement_rows, prediction_rows
from analyses.circuit_agreement.scoring import Nodes
from analyses.circuit_agreement.tables import disagreements_table


def planted() -> dict[str, np.ndarray]:
    """Six prompts, forty nodes: a method that is nearly right, one that has signs turned, one that is wrong."""
    rng = np.random.default_rng(0)
    truth = rng.standard_t(2, size=40) + 0.1 * rng.normal(size=(6, 40))
    part = np.where(np.arange(40) % 2 == 0, truth, np.nan)
    return {"ablation": truth, "dla": rng.permuted(truth, axis=1), "atp": truth + 0.1 * rng.normal(size=truth.shape),
            "eap": -truth, "flow": np.abs(truth), "graph": np.abs(part)}  # fmt: skip


def test_a_method_that_is_wrong_comes_last() -> None:
    rows = pd.DataFrame(prediction_rows(planted(), 8)).set_index(["measure", "method"])
    order = rows.loc["size"].sort_values("mean")
    assert order.index[0] == "dla"
    assert abs(order["mean"].iloc[0]) < 0.2
    assert order.loc[["atp", "eap", "flow", "graph"], "mean"].min() > 0.9
    assert order.loc["dla", "difference_high"] < -0.5
    assert rows.loc[("signed", "eap"), "mean"] == pytest.approx(-1)
    assert rows.loc[("sign", "eap"), "mean"] == 0
    assert rows.loc[("sign", "atp"), "mean"] > 0.9
    assert rows.loc[("top", "flow"), "mean"] == 1
    assert rows.loc[("explained", "eap"), "mean"] == pytest.approx(-3)
    assert rows.loc[("among", "flow"), "mean"] == pytest.approx(1)
    assert rows.loc[("among", "dla"), "mean"] < 0.6
    assert rows["high"].max() <= 1
    assert rows.loc[["size", "signed", "among"], "low"].min() >= -1
    assert rows.loc[["top", "sign"], "low"].min() >= 0
    assert rows.loc[("top", "flow"), "chance"] == pytest.approx(0.2)
    assert {method for measure, method in rows.index if measure == "signed"} == {"dla", "atp", "eap"}
    best = rows.index[rows["best"]]
    # Signs turned are right by size; the first of equally good ones is named.
    assert list(best) == [
        ("size", "eap"),
        ("among", "eap"),
        ("signed", "atp"),
        ("top", "eap"),
        ("sign", "atp"),
        ("explained", "atp"),
    ]


def test_a_method_of_some_nodes_is_compared_over_these() -> None:
    scores = planted()
    rows = pd.DataFrame(prediction_rows(scores, 8)).set_index(["measure", "method"])
    assert rows.loc[("size", "graph"), ["nodes", "prompts"]].tolist() == [20, 6]
    assert rows.loc[("size", "graph"), "difference"] == pytest.approx(0, abs=1e-12)
    some = scores | {"graph": np.where(np.arange(6)[:, None] == 2, scores["graph"], np.nan)}
    row = pd.DataFrame(prediction_rows(some, 8)).set_index(["measure", "method"]).loc[("top", "graph")]
    assert row[["nodes", "prompts"]].tolist() == [20, 1]
    assert np.isnan(row["low"])
    assert row["mean"] == 1
    assert row["chance"] == pytest.approx(8 / 20)


def test_every_method_agrees_with_itself() -> None:
    rows = pd.DataFrame(agreement_rows(planted())).set_index(["by", "first", "second"])
    for method in planted():
        assert rows.loc[("size", method, method), "correlation"] == pytest.approx(1)
    assert rows.loc[("signed", "ablation", "eap"), "correlation"] == pytest.approx(-1)
    assert rows.loc[("size", "ablation", "eap"), ["correlation", "low", "of_means"]].tolist() == pytest.approx(
        [1, 1, 1]
    )
    assert ("signed", "ablation", "flow") not in rows.index


def test_disagreements_are_the_nodes_whose_ranks_are_farthest_apart() -> None:
    truth = np.linspace(2, 0.1, 20)[None]
    wrong = truth.copy()
    wrong[0, 1], wrong[0, 15] = -0.01, 3.0
    nodes = Nodes((0, 1, 2, 3), 4).frame
    found = disagreements_table(nodes, {"ablation": truth, "atp": wrong, "eap": truth}, top=3, listed=2)
    assert found["method"].tolist() == ["atp", "atp"]
    assert found[["node", "how", "rank", "true_rank", "sign"]].to_numpy().tolist() == [
        ["L3H0", "overrated", 1, 16, "same"], ["L0H1", "missed", 20, 2, "opposite"],
    ]  # fmt: skip
    assert found["doublings"].tolist() == pytest.approx([-4, np.log2(10)])
