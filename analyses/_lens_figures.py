"""Figures of the logit lens, drawn from its frames alone."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import glyphs, grid, lens_table, lines, sequential_heatmap, token_hovers, token_labels
from hooks.errors import InputError

EMBED_NAME = "embed"


PICTURES = ("top_tokens", "entropy", "kl_to_final", "target_log_probability", "target_rank")


def figures(frames: Frames, *, position: int | None, own_top: bool, final_norm: bool) -> dict[str, go.Figure]:
    """The words, how uncertain they are, how far from the output, and how the targets fare at one position.

    Raises:
        InputError: `position` was not read.
    """
    cells, top = frames["cells"], frames["top"]
    how = "" if final_norm else ", without the final norm"
    best = top[top["order"] == 0].assign(token=lambda f: [glyphs(text) for text in f["token"]])
    axes = _axes(cells)
    place = _place(cells, position)
    return {
        "top_tokens": lens_table(
            grid(best, x="position", y="layer", value="probability"),
            grid(best, x="position", y="layer", value="token").to_numpy().tolist(),
            title=f"Logit lens{how}: the most likely next token after each layer",
            **axes,
        ),
        "entropy": _heat(cells, "entropy", f"Entropy of the lens distribution{how}", "entropy (nats)"),
        "kl_to_final": _distance(cells, how),
        "target_log_probability": _target_lines(frames, place, "log_probability", own_top, how),
        "target_rank": _target_lines(frames, place, "rank", own_top, how),
    }


def _distance(cells: pd.DataFrame, how: str) -> go.Figure:
    """The embedding is far from any output; on a scale that holds it the layers would all look alike."""
    above = float(cells.loc[cells["layer"] >= 0, "kl_to_final"].max())
    over = bool((cells["kl_to_final"] > above).any())
    legend = "white: the layer already predicts what the model will"
    return _heat(
        cells,
        "kl_to_final",
        f"Distance of the lens from the model's output{how}",
        "KL(output ‖ layer) (nats)",
        legend + (f"; the embedding is off the scale, which ends at {above:.3g} nats" if over else ""),
        (0.0, above or 1.0),
    )


def _heat(
    cells: pd.DataFrame,
    value: str,
    title: str,
    unit: str,
    legend: str = "",
    limits: tuple[float, float] | None = None,
) -> go.Figure:
    values = grid(cells, x="position", y="layer", value=value)
    return sequential_heatmap(values, title=title, unit=unit, legend=legend, limits=limits, **_axes(cells))


def _axes(cells: pd.DataFrame) -> dict[str, Any]:
    """Titles and labels of both axes and the x hover, positions and layers ascending as `grid` puts them."""
    read = cells.drop_duplicates("position").sort_values("position")
    labels = token_labels(list(read["token"]), list(read["token_id"]))
    hovers = token_hovers(list(read["token"]), list(read["token_id"]))
    places = list(read["position"])
    return {
        "x_title": "position and token read",
        "y_title": "output of layer",
        "x_labels": [f"{place} {label.split(' ', 1)[1]}" for place, label in zip(places, labels, strict=True)],
        "x_hover": [f"position {place}:{hover.split(':', 1)[1]}" for place, hover in zip(places, hovers, strict=True)],
        "y_labels": [_layer_name(layer) for layer in sorted(cells["layer"].unique())],
    }


def _layer_name(layer: int) -> str:
    return EMBED_NAME if layer < 0 else str(layer)


def _place(cells: pd.DataFrame, position: int | None) -> int:
    read = sorted(int(place) for place in cells["position"].unique())
    if position is None:
        return read[-1]
    place = position + read[-1] + 1 if position < 0 else position
    if place not in read:
        known = ", ".join(map(str, read[:20])) + (", …" if len(read) > 20 else "")
        raise InputError(f"position {position} was not read; read: {known}")
    return place


def _target_lines(frames: Frames, place: int, value: str, own_top: bool, how: str) -> go.Figure:
    is_rank = value == "rank"
    here = frames["targets"][frames["targets"]["position"] == place]
    token = frames["cells"].loc[frames["cells"]["position"] == place, "token"].iloc[0]
    layers = sorted(here["layer"].unique())
    drawn = here.assign(target=[glyphs(text) for text in here["target"]], value=here[value] + int(is_rank))
    if not is_rank:
        # The embedding's log-probability is so low that the layers' would be a flat line beside it.
        drawn, layers = drawn[drawn["layer"] >= 0], [layer for layer in layers if layer >= 0]
    of = "the model's own next token" if own_top else "the targets"
    figure = lines(
        drawn.assign(place=drawn["layer"] - layers[0]),
        x="place",
        y="value",
        group="target",
        title=f"{'Rank' if is_rank else 'Log-probability'} of {of} at position {place} ({glyphs(token)}){how}",
        x_title="output of layer",
        y_title="rank (1 is the top)" if is_rank else "log-probability (nats)",
        x_labels=[_layer_name(layer) for layer in layers],
        legend="" if is_rank else "the embedding is not drawn; it is in the data",
    )
    if is_rank:
        figure.update_yaxes(type="log", autorange="reversed", dtick=1, exponentformat="none")
    return figure
