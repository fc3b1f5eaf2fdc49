"""Grouped bars, funnels, histograms and strips of tokens; a rescue heatmap with mask, intervals and grey cells."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from analyses._plots import fit, funnel, grouped_bars, histogram, lines, sequential_heatmap, signed_heatmap, strip
from analyses._stats import rate_interval

ONE, TWO = 312.0, 648.0
RATES = pd.DataFrame({"place": ["hop", "hop", "hop", "last"], "kind": ["oracle", "random", "noise", "oracle"],
                      "rate": [0.4, 0.2, 0.1, 0.3], "low": [0.3, 0.1, 0.0, 0.2],
                      "high": [0.6, 0.4, 0.3, np.nan]})  # fmt: skip


def bars(**more: object):
    return grouped_bars(RATES, x="place", group="kind", value="rate", low="low", high="high", title="rescue",
                        x_title="at", y_title="rate (fraction)", **more)  # type: ignore[arg-type]  # fmt: skip


def test_bars_of_a_place_stand_side_by_side_and_fill_it() -> None:
    oracle, random, noise = bars().data
    assert list(oracle.x) == [0, 1]
    edges = sorted((trace.offset[0], trace.offset[0] + trace.width[0]) for trace in (oracle, random, noise))
    assert edges[0][0] == pytest.approx(-0.4)
    assert edges[-1][1] == pytest.approx(0.4)
    for (_, end), (start, _) in pairwise(edges):
        assert start == pytest.approx(end)
    assert (oracle.offset[1], oracle.width[1]) == (pytest.approx(-0.4), pytest.approx(0.8)), "alone at its place"


def test_bars_carry_their_intervals_and_a_missing_one_is_left_away() -> None:
    oracle = bars().data[0]
    assert oracle.error_y.array[0] == pytest.approx(0.2)
    # Plotly draws a null as an interval of no length, NaN as none.
    assert np.isnan(oracle.error_y.array[1])
    assert "bdata" in json.loads(bars().to_json())["data"][0]["error_y"]["array"]
    assert "0.4 [0.3, 0.6]" in oracle.hovertext[0]
    assert "[" not in oracle.hovertext[1]
    assert (
        not grouped_bars(RATES, x="place", group="kind", value="rate", title="", x_title="", y_title="")
        .data[0]
        .error_y.array
    )


def test_two_rows_of_one_bar_are_refused() -> None:
    with pytest.raises(ValueError, match="place='hop', kind='oracle'"):
        grouped_bars(pd.concat([RATES, RATES.head(1)]), x="place", group="kind", value="rate", title="", x_title="",
                     y_title="")  # fmt: skip


def test_the_legend_has_room_above_the_bars() -> None:
    """Names too long for one row: the plot moves down by Plotly's 19 px a row."""
    names = [f"a control with a long name {i}" for i in range(5)]
    frame = pd.DataFrame({"x": "p", "g": names, "v": 1.0})
    tops = {}
    for groups in (1, 5):
        figure = grouped_bars(frame.head(groups), x="x", group="g", value="v", title="t", x_title="", y_title="")
        tops[groups] = fit(figure, ONE).layout.margin.t
    assert tops[5] - tops[1] == pytest.approx(5 * 19)


def test_a_funnel_writes_counts_and_shares_of_the_step_before() -> None:
    figure = funnel(["all", "known", "left", "none", "still none"], [200, 100, 25, 0, 0], title="t", noun="queries")
    assert list(figure.data[0].text) == ["200", "100 (50%)", "25 (25%)", "0 (0%)", "0"]
    assert list(figure.data[0].textposition) == ["inside", "outside", "outside", "outside", "outside"]
    assert figure.layout.yaxis.range == (4.5, -0.5), "first on top"
    for wrong in ([1, 2], [], [3]):
        with pytest.raises(ValueError, match="counts that do not grow"):
            funnel(["a", "b"], wrong, title="")


def test_a_histogram_counts_what_is_left_out() -> None:
    groups = {"right": [0.0, 1.0, 1.0, 9.0], "wrong": [0.5, np.nan]}
    figure = histogram(groups, title="t", x_title="score", noun="answers", bins=2, limits=(0.0, 2.0), reference=1.0)
    right, wrong = figure.data
    assert list(right.y) == [0.0, 0.25, 0.25, 0.5, 0.5, 0.0]
    assert list(wrong.y) == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert (right.name, wrong.name) == ("right (4)", "wrong (1)")
    assert figure.layout.meta["notes"] == [
        "answers without a finite value, left out: 1",
        "answers outside the range: 1",
    ]
    alone = histogram({"": [3.0, 3.0]}, title="", x_title="")
    assert max(alone.data[0].y) == 2.0, "counts when there is one group"
    with pytest.raises(ValueError, match="no finite value"):
        histogram({"a": [np.nan]}, title="", x_title="")


TOKENS = ["The", " capital", " of", "\n", " <b>", " internationalization" * 3]


def test_tokens_lie_in_lines_inside_the_figure_and_do_not_overlap() -> None:
    figure = strip(TOKENS * 8, np.linspace(-1, 1, 48), title="t", unit="logits", colours="signed")
    for width in (ONE, TWO):
        layout = fit(figure, width).layout
        across = width - layout.margin.l - layout.margin.r
        boxes = [(box.y0, box.x0, box.x1) for box in layout.shapes]
        assert boxes == sorted(boxes), "reading order"
        for (y, _, end), (next_y, start, next_end) in pairwise(boxes):
            assert next_end <= across + 1e-6
            assert next_y > y or start >= end
        assert layout.shapes[4].y0 > layout.shapes[3].y0, "a newline ends its line"
        assert layout.yaxis.range[0] >= layout.shapes[-1].y1
    assert fit(fit(figure, ONE, scale=2), TWO).to_json() == fit(figure, TWO).to_json()


def test_tokens_are_coloured_by_their_number_and_white_without_one() -> None:
    figure = strip(
        ["a", "b", "c"], [1.0, -2.0, np.nan], title="", unit="logits", colours="signed", hovers=["x", "", "y"]
    )
    fills = [box.fillcolor for box in figure.layout.shapes]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2.0, 2.0)
    assert fills[1] == "rgb(103, 0, 31)"
    assert fills[2] == "rgb(255, 255, 255)"
    assert "blank: no finite value" in figure.layout.meta["notes"]
    assert figure.data[0].hovertext[0] == "0: a<br>1 logits<br>x"
    assert strip(["<b>"], [1.0], title="", unit="").layout.annotations[0].text == "&lt;b&gt;"
    with pytest.raises(ValueError, match="2 tokens and 1 values"):
        strip(["a", "b"], [1.0], title="", unit="")


def test_a_rescue_heatmap_has_a_triangle_intervals_and_grey_cells() -> None:
    layers = [str(layer) for layer in range(4)]
    defined = np.triu(np.ones((4, 4), dtype=bool), 1)
    rate, low, high = rate_interval(np.where(defined, 3, 0), np.where(defined, 10, 0))
    grey = np.zeros((4, 4), dtype=bool)
    grey[0, 3] = grey[3, 0] = True
    figure = sequential_heatmap(rate, layers, layers, title="rescue", x_title="source", y_title="target", unit="rate",
                                mask=~defined, hidden=grey, hidden_note="grey: none", low=low, high=high)  # fmt: skip
    cells, hidden = figure.data
    assert [[z is not None for z in row] for row in cells.z] == (defined & ~grey).tolist()
    assert [[z is not None for z in row] for row in hidden.z] == (defined & grey).tolist()
    assert cells.hovertext[0][1] == f"0, 1<br>0.3 [{low[0, 1]:.4g}, {high[0, 1]:.4g}] rate"
    notes = figure.layout.meta["notes"]
    assert notes == ["grey: none"], "masked cells need no note though they have no value"


def test_hiding_cells_changes_no_colour_and_a_mask_does() -> None:
    values = np.array([[1.0, -4.0]])
    common = {"title": "", "x_title": "", "y_title": "", "legend": "", "unit": ""}
    hidden = signed_heatmap(values, ["a", "b"], ["0"], hidden=[[False, True]], **common)  # type: ignore[arg-type]
    masked = signed_heatmap(values, ["a", "b"], ["0"], mask=[[False, True]], **common)  # type: ignore[arg-type]
    assert (hidden.data[0].zmax, masked.data[0].zmax) == (4.0, 1.0)
    assert len(masked.data) == 1


def test_a_line_of_one_place_has_a_bar_and_no_band() -> None:
    frame = pd.DataFrame({"x": [1, 1, 2], "y": [0.5, 0.7, 0.9], "low": [0.4, 0.6, 0.8], "high": [0.7, 0.8, 1.0],
                          "who": ["one", "two", "two"]})  # fmt: skip
    drawn = lines(frame, x="x", y="y", low="low", high="high", group="who", title="t", x_title="x", y_title="y")
    named = {trace.name: trace for trace in drawn.data if trace.name}
    assert list(named["one"].error_y.array) == pytest.approx([0.2])
    assert list(named["one"].error_y.arrayminus) == pytest.approx([0.1])
    assert named["two"].error_y.array is None
    assert sum(trace.fill == "toself" for trace in drawn.data) == 1
