"""Pictures of pairs of unequal length say where positions are counted from and what is left out."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analyses._patching_figures import figures

SITES = ("resid_pre", "z", "z_by_position")


def _drawn(tokens: list[int], positions: list[int]) -> dict[str, go.Figure]:
    pairs = pd.DataFrame({"tokens": tokens, "clean_logit_diff": 1.0, "corrupted_logit_diff": -1.0})
    shared = {"metric": "recovery", "unit": "fraction", "effect": 0.5, "effect_low": 0.1, "effect_high": 0.9}
    rows = [{"site": site, "layer": layer, "head": -1 if site == "resid_pre" else head, "token": "",
             "position": -1 if site == "z" else place, "distinguishable": True} | shared
            for site in SITES for layer in (5, 20) for head in ((0,) if site == "resid_pre" else (0, 1))
            for place in ([0] if site == "z" else positions)]  # fmt: skip
    return figures({"cells": pd.DataFrame(rows), "pairs": pairs}, "recovery", True, False)


def test_positions_counted_from_the_last_token_say_so() -> None:
    drawn = _drawn([5, 12], [-5, -4, -3, -2, -1])
    for site in ("resid_pre", "z_by_position"):
        said = drawn[site].layout.title.text.replace("</span><br>", " ")
        assert "from the end" in drawn[site].layout.xaxis.title.text
        assert "5 to 12 tokens" in said
        assert "before -5" in said
        assert "left out" in said
    assert "left out" not in drawn["z"].layout.title.text


def test_positions_of_equal_prompts_count_from_the_first() -> None:
    drawn = _drawn([3, 3], [0, 1, 2])
    for figure in drawn.values():
        assert "left out" not in figure.layout.title.text
    assert drawn["resid_pre"].layout.xaxis.title.text == "position"
