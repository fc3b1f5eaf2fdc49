"""What circuit evaluation's pictures say: what was scored on what, what is not used, not known or not found."""

from __future__ import annotations

import numpy as np

from analyses.circuit_evaluation import ANALYSIS, EvaluationSpec
from hooks.model import Model
from tests.analyses.evaluated import THIRD, frames, kept, notes
from tests.pairs import OTHER, PAIR


def test_a_kept_circuit_says_what_it_was_scored_on_and_what_is_not_used(tiny: Model) -> None:
    artifact, _ = kept(tiny, PAIR, THIRD)
    found = frames(tiny, PAIR, OTHER, artifact=artifact, circuit="c")
    assert "scored by EAP on 2 other pairs, 1 of them given here" in notes(found, circuit="c")
    assert "Not used, as the circuit is a kept one: method, steps, layers" in notes(
        found, circuit="c", layers=[0], method="eap", steps=2
    )
    unseen = frames(tiny, PAIR, artifact=kept(tiny)[0], circuit="c")
    assert "does not say how many" in notes(unseen, circuit="c")


def test_what_cannot_be_told_from_nothing_is_not_drawn_as_if_it_were_known(tiny: Model) -> None:
    artifact, _ = kept(tiny)
    found = frames(
        tiny, PAIR, OTHER, artifact=artifact, circuit="c", ablations=["resample", "zero"], controls=["anywhere"]
    )
    curves = found["curves"]
    for ablations, said, drawn in (
        (["zero"], "The whole effect of ablation zero cannot be told from 0: no interval, not drawn", 2),
        (["zero", "resample"], "The whole effect cannot be told from 0: no interval, drawn grey", 4),
        ([], "Bands: 95% intervals over pairs; random circuits: of the mean of the 2 drawn", 4),
    ):
        unsure = curves["ablation"].isin(ablations)
        known = curves.assign(low=curves["mean"] - 1, high=curves["mean"] + 1)
        given = found | {
            "curves": known.assign(low=known["low"].mask(unsure, -np.inf), high=known["high"].mask(unsure, np.inf))
        }
        spec = EvaluationSpec(controls=("anywhere",))
        figure = ANALYSIS.figures(given, spec)["faithfulness"]
        assert said in " ".join(figure.layout.meta["notes"])
        lines = [line for line in figure.data if line.fill is None]
        assert len(lines) == drawn
        assert len({line.line.color for line in lines}) == (1 if len(ablations) == 2 else drawn)


def test_a_control_that_was_not_found_is_told(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER)
    curves = found["curves"]
    size = curves["size"].max()
    edges = curves.loc[curves["size"] == size, "edges"].iloc[0]
    less = curves[(curves["whose"] != "random, same nodes") | (curves["size"] != size)]
    assert "No random" not in notes(found)
    assert f"No random circuit, same nodes of {edges} edges was found" in notes(found | {"curves": less})
