"""Layout for a width: labels thinned, turned and never wider than the figure; data untouched."""

import numpy as np
import pandas as pd
import pytest

from analyses._plots import bars, facets, fit, lens_table, lines, signed_heatmap, token_labels
from analyses._plots.fit import WORDLESS

ONE, TWO = 312.0, 648.0


def heat(layers: int, positions: int):
    values = np.linspace(-1, 1, layers * positions).reshape(layers, positions)
    return signed_heatmap(values, token_labels([" word"] * positions), [str(i) for i in range(layers)], title="t " * 60,
                          x_title="position", y_title="layer", legend="blue: up", unit="logits")  # fmt: skip


@pytest.mark.parametrize("width", [ONE, TWO])
@pytest.mark.parametrize("positions", [1, 14, 60, 300])
@pytest.mark.parametrize("layers", [1, 30, 126])
def test_tick_labels_never_touch(layers: int, positions: int, width: float) -> None:
    layout = fit(heat(layers, positions), width).layout
    margins = layout.margin
    for axis, length, count in (
        (layout.xaxis, width - margins.l - margins.r, positions),
        (layout.yaxis, layout.height - margins.t - margins.b, layers),
    ):
        ticks = list(axis.tickvals)
        assert ticks[0] == 0
        gap = min(np.diff(ticks), default=count) * length / count
        if axis.tickangle == -90 or axis is layout.yaxis:
            assert gap >= axis.tickfont.size
    assert margins.l + margins.r < width


def test_fourteen_tokens_and_thirty_layers_are_all_labelled_at_both_widths() -> None:
    for width in (ONE, TWO):
        layout = fit(heat(30, 14), width).layout
        assert len(layout.xaxis.tickvals) == 14
        assert len(layout.yaxis.tickvals) == 30


def test_sixty_tokens_are_all_labelled_in_two_columns() -> None:
    assert len(fit(heat(30, 60), TWO).layout.xaxis.tickvals) == 60


def test_fitting_again_gives_what_fitting_once_gives_and_keeps_the_data() -> None:
    figure = heat(30, 14)
    again = fit(fit(figure, ONE), TWO)
    assert again.to_json() == fit(figure, TWO).to_json()
    assert again.data == figure.data


def test_a_screen_gets_larger_letters() -> None:
    figure = heat(30, 14)
    screen = fit(figure, 1000, scale=1.5)
    assert screen.layout.font.size == 1.5 * figure.layout.font.size
    assert screen.data[0].colorbar.tickfont.size == 1.5 * figure.data[0].colorbar.tickfont.size
    assert fit(screen, TWO).to_json() == fit(figure, TWO).to_json()
    assert screen.layout.xaxis.tickfont.size == 1.5 * figure.layout.xaxis.tickfont.size
    assert screen.layout.width == 1000


def test_a_lens_drops_its_words_only_where_they_do_not_fit_and_says_so() -> None:
    words = [[" Mary"] * 14] * 30
    figure = lens_table(
        np.full((30, 14), 0.5), words, token_labels([" a"] * 14), list(map(str, range(30))), title="lens"
    )
    assert figure.data[0].text[0][0] == " Mary"
    narrow = fit(figure, ONE)
    assert narrow.data[0].text is None
    assert WORDLESS.split()[0] in narrow.layout.title.text
    assert WORDLESS not in figure.layout.title.text


def test_panels_lie_inside_the_figure_and_apart() -> None:
    labels = token_labels([" word"] * 14)
    figure = facets([np.eye(14)] * 9, [f"L9H{head}" for head in range(9)], labels, labels, title="attention", unit="p")
    for width in (ONE, TWO):
        layout = fit(figure, width).layout
        boxes = [(layout[f"xaxis{i}"].domain, layout[f"yaxis{i}"].domain) for i in ["", *range(2, 10)]]
        for place, (x, y) in enumerate(boxes):
            assert 0 <= x[0] < x[1] <= 1
            assert 0 <= y[0] < y[1] <= 1
            for other_x, other_y in boxes[:place]:
                apart = x[0] >= other_x[1] or x[1] <= other_x[0] or y[0] >= other_y[1] or y[1] <= other_y[0]
                assert apart


def test_bars_have_the_first_row_on_top_and_colours_by_sign() -> None:
    frame = pd.DataFrame({"part": ["embed", "L0H1"], "v": [-1.0, 2.0], "lo": [-1.5, 1.0], "hi": [-0.9, 2.5]})
    figure = bars(frame, label="part", value="v", low="lo", high="hi", title="dla", unit="logits", legend="blue: for")
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert list(figure.data[0].marker.color) == ["#B2182B", "#2166AC"]
    np.testing.assert_allclose(figure.data[0].error_x.array, [0.1, 0.5])
    np.testing.assert_allclose(figure.data[0].error_x.arrayminus, [0.5, 1.0])


def test_lines_keep_group_order_and_sort_each_by_x() -> None:
    frame = pd.DataFrame({"x": [1, 0, 0], "y": [2.0, 1.0, 5.0], "g": ["b", "b", "a"]})
    figure = lines(frame, x="x", y="y", group="g", title="", x_title="x", y_title="y")
    assert [trace.name for trace in figure.data] == ["b", "a"]
    assert list(figure.data[0].x) == [0, 1]
    assert list(figure.data[0].y) == [1.0, 2.0]
