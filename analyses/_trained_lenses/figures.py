"""Figures of trained lenses, drawn from their frames alone."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analyses._plots import glyphs, grid, lens_table, lines, token_hovers, token_labels
from analyses._trained_lenses.scoring import AVERAGE
from analyses._trained_lenses.workflow import OUTPUT

LEAST_KL = 1e-3
"""On a logarithmic scale nothing is drawn below this; a lens that says what the model says has none."""
MOST_TICKS = 12
TICKS = [digit * 10.0**power for power in range(-3, 2) for digit in (1, 2, 5)]


def whose(about: pd.DataFrame, scores: pd.DataFrame) -> str:
    """For a figure's note: what the numbers are means over, and what was fitted on."""
    one, texts = about.iloc[0], int(scores["texts"].max())
    over = f"Mean over {texts} {one['scored']}" if texts > 1 else f"One text: {one['scored']}"
    seen = f", {one['seen']} of them fitted on: those are no test" if one["seen"] else ""
    bands = "; bands: 95% over texts" if texts > 1 else ""
    return (f"{over}{seen}{bands}. Fitted on {one['fitted_positions']:,} tokens of {one['fitted_texts']} texts "
            f"({one['origin']})")  # fmt: skip


def at_layers(figure: go.Figure, layers: pd.Series) -> go.Figure:
    """Ticks at the layers that were read, where they are few."""
    read = sorted({int(layer) for layer in layers})
    return figure.update_xaxes(tickvals=read) if len(read) <= MOST_TICKS else figure


def by_layer(
    scores: pd.DataFrame, about: pd.DataFrame, measure: str, *, title: str, y_title: str, x_title: str
) -> go.Figure:
    """One line a lens over the layers, with bands over texts where there are several; KL on a logarithmic scale."""
    several, legend = int(scores["texts"].max()) > 1, ""
    bounds = (f"{measure}_low", f"{measure}_high") if several else (None, None)
    drawn = scores[scores[measure].notna()]
    if measure == "kl":
        least = max(LEAST_KL, 0.5 * float(drawn["kl"].min()))
        drawn = drawn.assign(kl=drawn["kl"].clip(lower=least), kl_low=drawn["kl_low"].clip(lower=least))
        legend = f"Lower is nearer, on a logarithmic scale; a lens above “{AVERAGE}” has read nothing"
    notes = [one for one in (legend, whose(about, scores)) if one]
    figure = at_layers(lines(
        drawn, x="layer", y=measure, low=bounds[0], high=bounds[1], group="lens", title=title, x_title=x_title,
        y_title=y_title, legend=". ".join(notes),
    ), drawn["layer"])  # fmt: skip
    if measure == "agreement":
        return figure.update_yaxes(range=[-0.02, 1.02])
    return figure.update_yaxes(type="log", tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])


def curves(frame: pd.DataFrame, about: pd.DataFrame, name: str) -> go.Figure:
    """KL on texts that are neither fitted on nor tested with, over the steps of each layer's fit."""
    one = about.iloc[0]
    return lines(
        frame.assign(words=[f"layer {layer}" for layer in frame["layer"]]), x="step", y="checked", group="words",
        title=f"Fitting the {name}", x_title="step", y_title="KL(model ‖ lens) (nats)",
        legend="On texts that are neither fitted on nor tested with; each layer's lowest step is kept. Fitted on "
        f"{one['fitted_positions']:,} tokens of {one['fitted_texts']} texts",
    ).update_yaxes(rangemode="tozero")  # fmt: skip


def words(cells: pd.DataFrame, about: pd.DataFrame, lens: str, *, title: str, y_title: str) -> go.Figure:
    """Layers × tokens: the most likely next token by one lens, with the model's own on the top row."""
    last = int(cells.loc[cells["lens"] == OUTPUT, "layer"].iloc[0])
    here = cells[cells["lens"] == lens].sort_values(["layer", "position"], kind="stable")
    top = cells[cells["lens"] == OUTPUT]
    rows = pd.concat([here.assign(row=here["layer"]), top.assign(row=last + 1)])
    drawn = rows.assign(top=[glyphs(text) for text in rows["top"]])
    labels = token_labels(list(top["token"]), list(top["token_id"]))
    return lens_table(
        grid(drawn, x="position", y="row", value="probability"),
        grid(drawn, x="position", y="row", value="top").to_numpy().tolist(),
        [f"{place} {label.split(' ', 1)[1]}" for place, label in zip(top["position"], labels, strict=True)],
        [*(str(layer) for layer in sorted(here["layer"].unique())), OUTPUT],
        title=title, x_title="position and token read", y_title=y_title,
        x_hover=token_hovers(list(top["token"]), list(top["token_id"])),
        legend="Each cell: the most likely next token, shaded by its probability; top row: the model itself. The first "
        f"token was not fitted on. Read: {about['pictured'].iloc[0]}",
    )  # fmt: skip
