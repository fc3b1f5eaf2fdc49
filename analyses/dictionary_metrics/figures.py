"""Pictures of a dictionary's measures, drawn from their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._common import one_layer
from analyses._contract import Frames
from analyses._plots import fit, grouped_bars, histogram, lines, template

if TYPE_CHECKING:
    from analyses.dictionary_metrics import MetricsSpec

NAMES = ("quality", "losses", "densities", "neighbours", "prefixes", "letters")
MEASURES = (
    ("explained", "explained variance"),
    ("cosine", "cosine"),
    ("norm_ratio", "norm ratio"),
    ("ce_recovered", "CE recovered"),
    ("kl_recovered", "KL recovered"),
)
TOLD = 0.3
MISSING = "No latents tell these letters well, so their share is spread over others rather than absorbed. "
"""Said below this F1 of the main latents."""
NESTED = "trained to be dictionaries of their own"
CROSSING = "this is for dictionaries that write to one layer, not for cross-layer sets"


def figures(frames: Frames, spec: MetricsSpec) -> dict[str, go.Figure]:
    """Every picture of `NAMES`."""
    about = frames["about"].iloc[0]
    return {
        "quality": _quality(frames["summary"], about),
        "losses": _losses(frames, about),
        "densities": _densities(frames, about),
        "neighbours": _neighbours(frames, about),
        "prefixes": _prefixes(frames["prefixes"], about),
        "letters": _letters(frames, spec, about),
    }


def _where(row: pd.Series) -> str:
    return str(row["reads"]) if row["reads"] == row["writes"] else f"{row['reads']} → {row['writes']}"


def _quality(summary: pd.DataFrame, about: pd.Series) -> go.Figure:
    rows = [
        {"measure": words, "where": _where(row), "value": row[name],
         "low": row.get(f"{name}_low", np.nan), "high": row.get(f"{name}_high", np.nan)}
        for _, row in summary.iterrows() for name, words in MEASURES
    ]  # fmt: skip
    told = "; ".join(_told(row, len(summary) > 1) for _, row in summary.iterrows())
    nothing = "zero" if about["ablation"] == "zero" else "its mean"
    return grouped_bars(
        pd.DataFrame(rows), x="measure", group="where", value="value", low="low", high="high", reference=1.0,
        x_title="", y_title="share (ratio for norms)", title=f"What {about['dictionary']} keeps of its activations",
        legend=f"Dashed: 1, nothing lost. {_only(summary)}{told}. CE and KL recovered: 0 is the site set to {nothing}; "
        f"whiskers: 95% over documents. {about['text']}.",
    )  # fmt: skip


def _layer(row: pd.Series) -> str:
    return f"layer {row['layer']}" if row["layer"] >= 0 else str(row["reads"])


def _only(summary: pd.DataFrame) -> str:
    return f"{_where(summary.iloc[0])}: " if len(summary) == 1 else ""


def _told(row: pd.Series, several: bool) -> str:
    named = f"{_layer(row)}: " if several else ""
    return (
        f"{named}{row['active']:.1f} of {row['latents']:,} latents active a token (L0), relative bias {row['bias']:.3f}"
    )


def _losses(frames: Frames, about: pd.Series) -> go.Figure:
    frame = frames["losses"].merge(frames["summary"][["layer", "reads", "writes"]], on="layer")
    frame = frame.assign(where=[_where(row) for _, row in frame.iterrows()])
    nothing = "zero" if about["ablation"] == "zero" else "its mean over the measured tokens"
    first = frame.iloc[0]
    mine = frame[(frame["layer"] == first["layer"]) & (frame["arm"] != "unchanged")]
    kl = "; ".join(f"{row['arm']} {row['kl']:.3f}" for _, row in mine.iterrows())
    return grouped_bars(
        frame[frame["arm"] != "unchanged"], x="arm", group="where", value="added", low="added_low", high="added_high",
        x_title="what stands at the site", y_title="added cross-entropy (nats a token)",
        title=f"What the model loses with {about['dictionary']}",
        legend=f"Put in at every token but each text's first; ablated: the site set to {nothing}. Unchanged: "
        f"{first['ce']:.3f} nats a token. KL from the unchanged model in nats"
        f"{'' if len(frames['summary']) == 1 else ' (layer ' + str(first['layer']) + ')'}: {kl}. "
        f"{first['predicted']:,} predictions of {first['texts']} documents; whiskers: 95% over them.",
    )  # fmt: skip


def _densities(frames: Frames, about: pd.Series) -> go.Figure:
    frame, summary = frames["densities"], frames["summary"]
    tokens = int(summary["tokens"].iloc[0])
    shown = frame[frame["density"] > 0]
    shown = frame.assign(density=1 / tokens) if shown.empty else shown
    groups = {f"layer {layer}": np.log10(part["density"]) for layer, part in shown.groupby("layer", sort=False)}
    told = "; ".join(
        f"{_layer(row)}: dead {row['dead']:.1%}, over 1% {row['over_1']:.1%}, over 10% {row['over_10']:.1%}"
        for _, row in summary.iterrows()
    )
    return histogram(
        groups, title=f"How often latents of {about['dictionary']} are active", noun="latents", share=False,
        x_title="log₁₀ of the share of tokens", reference=-2.0,
        legend=f"Dashed: 1% of the tokens. Shares of latents: {told}. Dead: on none of {tokens:,} tokens, "
        "left out here.",
    )  # fmt: skip


def _neighbours(frames: Frames, about: pd.Series) -> go.Figure:
    frame = frames["densities"]
    cosine = frame["cosine"].to_numpy(dtype=float)
    if not np.isfinite(cosine).any():
        return _words("Nearest directions", "one latent alone has no neighbour")
    row = frames["summary"].iloc[0]
    return histogram(
        {"latents": cosine, "random directions": frame["random"]}, noun="directions",
        title=f"How alike the directions of {about['dictionary']} are",
        x_title="cosine with the nearest other direction",
        legend=f"Median {row['neighbour']:.3f}; of as many random directions {row['random_neighbour']:.3f}"
        f"{'' if len(frames['summary']) == 1 else f' (layer {row.layer}; all layers are drawn)'}. "
        "Far above random: latents that say nearly the same.",
    )  # fmt: skip


def _prefixes(frame: pd.DataFrame, about: pd.Series) -> go.Figure:
    if frame.empty:
        return _words(f"Prefixes of {about['dictionary']}", f"Not measured: {CROSSING}.")
    several = frame["layer"].nunique() > 1
    parts = [frame.assign(what="explained variance", low=np.nan, high=np.nan, value=frame["explained"])]
    some = frame[frame["ce_recovered"].notna()]
    if some.duplicated("layer").any():
        parts.append(some.assign(what="CE recovered", low=some["ce_recovered_low"], high=some["ce_recovered_high"],
                                 value=some["ce_recovered"]))  # fmt: skip
    shown = pd.concat(parts)
    shown["what"] = [f"layer {row['layer']}, {row['what']}" if several else row["what"] for _, row in shown.iterrows()]
    nested = f"prefixes were {NESTED}" if frame["nested"].any() else f"prefixes were not {NESTED}"
    return lines(
        shown, x="latents", y="value", low="low", high="high", group="what", x_title="first so many latents alone",
        y_title="share", title=f"Prefixes of {about['dictionary']}",
        legend=f"These {nested}. Active latents a token: "
        + ", ".join(f"{row['latents']:,}: {row['active']:.1f}"
                    for _, row in frame[frame["layer"] == frame["layer"].iloc[0]].iterrows()) + ".",
    )  # fmt: skip


def _letters(frames: Frames, spec: MetricsSpec, about: pd.Series) -> go.Figure:
    layer = one_layer(list(frames["summary"]["layer"]), spec.layer, "layer")
    frame = frames["letters"][frames["letters"]["layer"] == layer]
    probed = frame[frame["f1"].notna()]
    title = f"First-letter absorption, {about['dictionary']}, layer {layer}"
    if probed.empty:
        why = "no letter has enough words in this model's vocabulary" if spec.words else "not asked for"
        why = CROSSING if frames["prefixes"].empty else why
        return _words(title, f"Absorption is not measured: {why}.")
    told, untold = probed[probed["measured"]], probed[~probed["measured"]]
    fewer = sorted(set("abcdefghijklmnopqrstuvwxyz") - set(probed["letter"]))
    rows = [
        {"letter": row["letter"], "what": what, "value": row[name], "low": row.get(f"{name}_low", np.nan),
         "high": row.get(f"{name}_high", np.nan)}
        for name, what in (("f1", "F1 of the probe"), ("absorbed", "absorbed share"), ("full", "fully absorbed words"))
        for _, row in probed.iterrows()
    ]  # fmt: skip
    weight = told["words"] / max(1, told["words"].sum())
    means = f"absorbed share {(told['absorbed'] * weight).sum():.3f}, full {(told['full'] * weight).sum():.3f}"
    means += f"; F1 of the mains, median {told['mains_f1'].median():.2f}"
    mean = f"Over {len(told)} letters, {told['words'].sum()} words: {means}. "
    mean += MISSING if told["mains_f1"].median() < TOLD else ""
    mean = mean if len(told) else "Absorption is not measured. "
    weak = f"No F1 above {spec.least_f1:g}: {', '.join(untold['letter'])}. " if len(untold) else ""
    few = f"Too few words: {', '.join(fewer)}. " if fewer else ""
    return grouped_bars(
        pd.DataFrame(rows), x="letter", group="what", value="value", low="low", high="high", reference=spec.least_f1,
        x_title="first letter", y_title="F1, or share of words", title=title,
        legend=f"{mean}{weak}{few}Dashed: F1 that a letter needs; whiskers: 95% over words. Models of 2B parameters or "
        "more are advised for this measure.",
    )  # fmt: skip


def _words(title: str, words: str) -> go.Figure:
    """An empty plot that says why there is nothing to draw."""
    figure = go.Figure()
    figure.update_layout(meta={"kind": "axes", "title": title, "notes": [words], "x_title": "", "y_title": "",
                               "plot_px": 60.0})  # fmt: skip
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return fit(figure.update_layout(template=template()))
