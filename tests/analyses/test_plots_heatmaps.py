"""Heatmaps: signs, ranges, hidden and missing cells, order of rows, and the click layer."""

import numpy as np
import pandas as pd
import pytest

from analyses._plots import click_overlay, facets, grid, lens_table, sequential_heatmap, signed_heatmap

VALUES = np.array([[-1.0, 0.5, 0.0], [0.25, np.nan, 0.1]])
TITLES = {"title": "effects", "x_title": "position", "y_title": "layer", "unit": "logits"}


def signed(**more):
    return signed_heatmap(VALUES, ["0 a", "1 <b>", "2 c"], ["0", "1"], **TITLES, legend="blue: up", **more)


def test_the_scale_is_symmetric_about_a_white_zero_and_blue_is_positive() -> None:
    cells = signed().data[0]
    assert (cells.zmin, cells.zmax, cells.zmid) == (-1.0, 1.0, 0.0)
    low, high = cells.colorscale[0][1], cells.colorscale[-1][1]
    assert low == "rgb(103,0,31)"
    assert high == "rgb(5,48,97)"


def test_all_zero_values_still_have_a_range() -> None:
    figure = signed_heatmap(np.zeros((1, 2)), ["a", "b"], ["0"], **TITLES, legend="blue: up")
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1.0, 1.0)


def test_the_sign_legend_and_what_is_missing_are_printed() -> None:
    text = signed().layout.title.text
    assert "blue: up" in text
    assert "blank: no finite value" in text
    assert "grey" not in text


def test_hidden_cells_are_grey_and_keep_their_value_in_the_hover() -> None:
    figure = signed(hidden=np.abs(np.nan_to_num(VALUES)) < 0.2, low=VALUES - 1, high=VALUES + 1)
    cells, grey = figure.data
    assert cells.z[0][2] is None
    assert grey.z[0][2] == 0.0
    assert grey.z[0][0] is None
    assert grey.hovertext[1][2] == "1, 2 c<br>0.1 [-0.9, 1.1] logits"
    assert "not distinguishable from zero" in figure.layout.title.text


def test_markup_in_labels_is_shown_not_obeyed() -> None:
    figure = signed()
    assert figure.layout.xaxis.ticktext[1] == "1 &lt;b&gt;"
    assert "&lt;b&gt;" in figure.data[0].hovertext[0][1]


def test_layer_zero_is_at_the_bottom_and_attention_starts_on_top() -> None:
    assert signed().layout.yaxis.range == (-0.5, 1.5)
    attention = sequential_heatmap(np.eye(2), ["a", "b"], ["a", "b"], **TITLES, upside_down=True)
    assert attention.layout.yaxis.range == (1.5, -0.5)


def test_masked_cells_are_blank_without_a_note_and_out_of_the_range() -> None:
    figure = sequential_heatmap([[0.5, 9.0], [0.2, 0.8]], ["a", "b"], ["a", "b"], **TITLES, mask=[[0, 1], [0, 0]])
    cells = figure.data[0]
    assert cells.z[0][1] is None
    assert (cells.zmin, cells.zmax) == (0.0, 0.8)
    assert "blank" not in figure.layout.title.text


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        signed_heatmap(VALUES, ["a"], ["0"], **TITLES, legend="")
    with pytest.raises(ValueError, match="hidden must have shape"):
        signed(hidden=[[True]])
    with pytest.raises(ValueError, match="words must have the shape"):
        lens_table([[0.5]], [["a", "b"]], ["0"], ["0"], title="lens")
    with pytest.raises(ValueError, match="at least one panel"):
        facets([], [], ["a"], ["a"], title="", unit="")


def test_a_grid_has_ascending_rows_and_refuses_two_values_for_one_cell() -> None:
    frame = pd.DataFrame({"layer": [1, 0, 0], "position": [0, 1, 0], "v": [3.0, 2.0, 1.0]})
    table = grid(frame, x="position", y="layer", value="v")
    np.testing.assert_array_equal(table.to_numpy(), [[1.0, 2.0], [3.0, np.nan]])
    with pytest.raises(ValueError, match="two rows for one cell: layer=1, position=0"):
        grid(pd.concat([frame, frame.head(1)]), x="position", y="layer", value="v")


def test_facets_share_one_scale_and_each_has_its_axes() -> None:
    figure = facets([np.full((2, 2), 0.25), np.eye(2)], ["L0H0", "L0H1"], ["a", "b"], ["a", "b"], title="", unit="p",
                    mask=[[0, 1], [0, 0]])  # fmt: skip
    assert [trace.xaxis for trace in figure.data] == ["x", "x2"]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0.0, 1.0)
    assert figure.data[1].z[0][1] is None
    assert [note.text for note in figure.layout.annotations[:2]] == ["L0H0", "L0H1"]


def test_the_click_layer_covers_every_drawn_cell_and_changes_no_figure() -> None:
    figure = signed(hidden=np.abs(np.nan_to_num(VALUES)) < 0.2)
    before = figure.to_dict()
    covered = click_overlay(figure)
    assert figure.to_dict() == before
    squares = [trace for trace in covered.data if trace.type == "scatter"]
    places = sorted(tuple(place) for trace in squares for place in trace.customdata)
    # (1, 1) is NaN but in the hidden mask, so it is drawn grey and can be clicked.
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert squares[0].marker.opacity == 0.02
    assert squares[0].hovertext[0] == figure.data[0].hovertext[0][0]
