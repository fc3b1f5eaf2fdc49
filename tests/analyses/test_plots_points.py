"""Scatter plots: intervals, names that touch nothing, the identity line and the printed rank correlation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analyses._plots import fit, scatter
from analyses._plots.theme import text_width
from analyses._stats import rank_correlation

ONE, TWO = 312.0, 648.0
NOISE = np.random.default_rng(0)


def points(count: int = 270, **more: object) -> tuple[pd.DataFrame, go.Figure]:
    truth = np.append(NOISE.normal(0, 0.05, count - 10), NOISE.normal(0, 1, 10))
    frame = pd.DataFrame({"estimate": truth + 0.1 * NOISE.normal(size=count), "truth": truth,
                          "head": [f"L{i // 9}H{i % 9}" for i in range(count)],
                          "kind": ["plain"] * (count - 10) + ["key"] * 10})  # fmt: skip
    frame = frame.assign(low=truth - 0.1, high=truth + 0.2)
    given = {"label": "head", "group": "kind", "y_low": "low", "y_high": "high", "identity": True} | more
    figure = scatter(frame, x="estimate", y="truth", title="t", x_title="estimate (logits)", y_title="true (logits)",
                     **given)  # type: ignore[arg-type]  # fmt: skip
    return frame, figure


def test_every_point_is_drawn_with_its_interval_and_name_in_the_hover() -> None:
    frame, figure = points()
    line, plain, key = figure.data
    assert (line.name, plain.name, key.name) == ("y = x", "plain", "key")
    assert plain.marker.symbol != key.marker.symbol
    assert list(plain.y) + list(key.y) == frame["truth"].tolist()
    np.testing.assert_allclose(key.error_y.array, 0.2)
    np.testing.assert_allclose(key.error_y.arrayminus, 0.1)
    row = frame.iloc[-1]
    assert key.hovertext[-1].startswith(f"{row['head']}<br>key<br>x {row['estimate']:.4g}<br>y {row['truth']:.4g} [")


def test_the_rank_correlation_is_printed() -> None:
    frame, figure = points()
    r, _, _ = rank_correlation(frame["estimate"], frame["truth"])
    assert f"Spearman's rank correlation {r:.2f} over 270 points" in figure.layout.meta["notes"][0]
    _, without = points(correlation=False, identity=False)
    assert without.layout.meta["notes"] == []


def test_the_identity_line_lies_on_equal_scales_at_both_widths() -> None:
    _, figure = points()
    assert figure.layout.xaxis.range == figure.layout.yaxis.range
    for width in (ONE, TWO):
        layout = fit(figure, width).layout
        across = width - layout.margin.l - layout.margin.r
        assert across == pytest.approx(layout.height - layout.margin.t - layout.margin.b)


@pytest.mark.parametrize("width", [ONE, TWO])
def test_names_touch_neither_each_other_nor_the_edge(width: float) -> None:
    _, figure = points(labelled=40)
    layout = fit(figure, width).layout
    across = width - layout.margin.l - layout.margin.r
    tall = layout.height - layout.margin.t - layout.margin.b
    boxes = []
    for note in layout.annotations:
        wide = text_width(note.text, note.font.size)
        left = note.x * across - {"left": 0, "center": wide / 2, "right": wide}[note.xanchor]
        boxes.append((left, note.y * tall - 5, left + wide, note.y * tall + 5))
    assert len(boxes) >= 8, "the points that stand apart are named"
    for place, (x0, y0, x1, y1) in enumerate(boxes):
        assert x0 >= -1
        assert x1 <= across + 1
        assert y0 >= -1
        assert y1 <= tall + 1
        for a0, b0, a1, b1 in boxes[:place]:
            assert x0 >= a1 or a0 >= x1 or y0 >= b1 or b0 >= y1


def test_fitting_again_gives_what_fitting_once_gives() -> None:
    _, figure = points()
    assert fit(fit(figure, ONE, scale=1.5), TWO).to_json() == fit(figure, TWO).to_json()


def test_what_cannot_be_placed_is_counted_and_nothing_at_all_is_refused() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, np.nan], "y": [1.0, np.inf, 1.0]})
    figure = scatter(frame, x="x", y="y", title="", x_title="x", y_title="y")
    assert "points without a finite value, left out: 2" in figure.layout.meta["notes"]
    with pytest.raises(ValueError, match="no row has finite x and y"):
        scatter(frame.iloc[1:], x="x", y="y", title="", x_title="x", y_title="y")


def test_unbounded_and_missing_intervals_are_said_and_not_drawn() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0], "low": [0.5, -np.inf, np.nan],
                          "high": [1.5, np.inf, np.nan]})  # fmt: skip
    (trace,) = scatter(frame, x="x", y="y", y_low="low", y_high="high", title="", x_title="", y_title="").data
    np.testing.assert_equal(list(trace.error_y.array), [0.5, np.nan, np.nan])
    assert trace.hovertext[1].endswith("y 2 (unbounded)")
    assert trace.hovertext[2].endswith("y 3")


def test_a_point_in_two_groups_is_named_once() -> None:
    frame = pd.DataFrame({"x": [1.0, 1.0, 2.0], "y": [3.0, 3.0, 1.0], "head": ["L1H2", "L1H2", "L0H0"],
                          "kind": ["a", "b", "a"]})  # fmt: skip
    figure = scatter(frame, x="x", y="y", label="head", group="kind", title="", x_title="", y_title="")
    assert sorted(note.text for note in figure.layout.annotations) == ["L0H0", "L1H2"]
    assert sum(len(trace.x) for trace in figure.data) == 3


def test_the_legend_of_a_square_plot_takes_the_room_beside_it() -> None:
    _, figure = points()
    wide, narrow = (fit(figure, width).layout for width in (TWO, ONE))
    assert (wide.legend.orientation, wide.legend.yanchor, narrow.legend.orientation) == ("v", "top", "h")
    assert narrow.legend.yanchor == "bottom"
    assert wide.legend.x > 1 > narrow.legend.x
