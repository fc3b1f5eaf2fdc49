"""Figures of direct logit attribution, drawn from its frames alone."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import bars, fit, glyphs, grid, lines, signed_heatmap, template
from analyses._plots.theme import CATEGORIES

UNIT = "logit(answer) − logit(distractor)"
GREY_NOTE = "grey: the 95% interval over prompts includes zero"
LEGEND = "blue: writes towards the answer; red: towards the distractor"


def figures(frames: Frames, *, hide: bool) -> dict[str, go.Figure]:
    """Heads by layer, sublayers, the running sum, and the neurons of one MLP."""
    note = identity_note(frames["identity"])
    return {
        "heads": _heads(frames["components"], note, hide),
        "sublayers": _sublayers(frames["sublayers"], note),
        "accumulated": _accumulated(frames["accumulated"], note),
        "neurons": _neurons(frames["neurons"], note),
    }


def identity_note(identity: pd.DataFrame) -> str:
    """Whose logit difference it is, and how exactly the parts add up to it."""
    error = identity["residual_error"].abs().max()
    exact = f"parts sum to it, residual error {error:.1e}"
    first = identity.iloc[0]
    if len(identity) == 1:
        words = f"{glyphs(first['answer'])} − {glyphs(first['distractor'])}"
        return f"Logit difference {words} = {first['logit_diff']:+.3f}; {exact}"
    mean, intervals = identity["logit_diff"].mean(), "intervals are 95%, bootstrapped over pairs"
    return f"Mean logit difference of {len(identity)} pairs = {mean:+.3f}; {exact} at most; {intervals}"


def _heads(components: pd.DataFrame, note: str, hide: bool) -> go.Figure:
    heads = components[components["kind"] == "head"]
    wide = {name: grid(heads, x="head", y="layer", value=name) for name in ("mean", "low", "high", "distinguishable")}
    several = bool(heads["low"].notna().all())
    return signed_heatmap(
        wide["mean"],
        [str(head) for head in wide["mean"].columns],
        [str(layer) for layer in wide["mean"].index],
        title="Direct logit attribution of every head",
        x_title="head",
        y_title="layer",
        legend=f"{LEGEND}. {note}",
        unit=f"{UNIT} (logits)",
        low=wide["low"] if several else None,
        high=wide["high"] if several else None,
        hidden=~wide["distinguishable"].astype(bool) if hide and several else None,
        hidden_note=GREY_NOTE,
    )


def _sublayers(sublayers: pd.DataFrame, note: str) -> go.Figure:
    """Two bars a layer, attention and MLP, between the embedding and the output biases."""
    layers = sorted(sublayers["layer"].unique())
    names = _layer_names(sublayers, layers)
    colours = {"attention": CATEGORIES[0], "mlp": CATEGORIES[1], "embedding": CATEGORIES[2], "bias": CATEGORIES[3]}
    labels = {"attention": "attention", "mlp": "MLP", "embedding": "embedding", "bias": "output biases"}
    figure = go.Figure()
    for part, rows in sublayers.groupby("part", sort=False):
        paired = part in ("attention", "mlp")
        spread = None
        if rows["low"].notna().all():
            spread = {"type": "data", "symmetric": False, "array": list(rows["high"] - rows["mean"]),
                      "arrayminus": list(rows["mean"] - rows["low"]), "thickness": 1, "width": 1}  # fmt: skip
        figure.add_trace(go.Bar(
            x=[layers.index(layer) for layer in rows["layer"]], y=list(rows["mean"]), name=labels[str(part)],
            offset={"attention": -0.4, "mlp": 0.0}.get(str(part), -0.3), width=0.4 if paired else 0.6, error_y=spread,
            marker={"color": colours[str(part)]}, showlegend=True,
            hovertemplate=f"{labels[str(part)]}, layer %{{x}}<br>%{{y:.4g}} logits<extra></extra>"))  # fmt: skip
    meta = {"kind": "axes", "title": "Direct logit attribution of every attention layer and MLP",
            "notes": [f"above zero: writes towards the answer. {note}"], "x_labels": names, "x_title": "layer",
            "y_title": f"{UNIT} (logits)", "plot_px": 220.0}  # fmt: skip
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left"}
    figure.update_layout(template=template(), legend=legend, meta=meta)
    figure.update_xaxes(title_text="layer", range=[-0.7, len(layers) - 0.3])
    figure.update_yaxes(title_text=meta["y_title"], showgrid=True, gridcolor="#E5E5E5", zeroline=True,
                        zerolinecolor="#333333")  # fmt: skip
    return fit(figure)


def _layer_names(sublayers: pd.DataFrame, layers: list[int]) -> list[str]:
    outside = {-1: "embed"}
    if (sublayers["part"] == "bias").any():
        outside[int(sublayers.loc[sublayers["part"] == "bias", "layer"].iloc[0])] = "biases"
    return [outside.get(int(layer), str(layer)) for layer in layers]


def _accumulated(accumulated: pd.DataFrame, note: str) -> go.Figure:
    several = bool(accumulated["low"].notna().all())
    return lines(
        accumulated,
        x="step",
        y="mean",
        low="low" if several else None,
        high="high" if several else None,
        title="The logit difference as it is written, sublayer by sublayer",
        x_title="sum up to and including",
        y_title=f"{UNIT} (logits)",
        x_labels=list(accumulated["after"]),
        legend=f"the final norm's scale is held throughout. {note}",
    )


def _neurons(neurons: pd.DataFrame, note: str) -> go.Figure:
    layer = int(neurons["layer"].iloc[0])
    several = bool(neurons["low"].notna().all())
    return bars(
        neurons.assign(label=["all others" if n < 0 else f"L{layer}N{n}" for n in neurons["neuron"]]),
        label="label",
        value="mean",
        low="low" if several else None,
        high="high" if several else None,
        title=f"Direct logit attribution of the neurons of MLP {layer}",
        unit=f"{UNIT} (logits)",
        legend=f"{LEGEND}. {note}",
        y_title="neuron",
    )
