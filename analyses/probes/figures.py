"""Pictures of probes: accuracy and selectivity by layer, calibration, confusion, k-sparse probes, edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._plots import grid, grouped_bars, lines, scatter, sequential_heatmap
from analyses.probes.applying import NOTHING, RANDOM
from analyses.probes.fitting import K_CHANNELS, K_SPARSE

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec

QUIET = "#777777"
TARGETS = {"label": "the label", "right": "whether the answer is right", "answer": "the answer"}


def names(spec: ProbesSpec) -> tuple[str, ...]:
    """The pictures, in order."""
    sparse = ("k_sparse",) if spec.dictionary else ()
    edited = ("effects", "cost") if spec.edits else ()
    return ("accuracy", "selectivity", "calibration", "confusion", *sparse, *edited)


def figures(frames: Frames, spec: ProbesSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    note, about = _note(frames), frames["about"].iloc[0]
    dense = frames["scores"][frames["scores"]["k"].isna()].assign(line=lambda f: _lines(f))
    found = {
        "accuracy": _accuracy(dense, frames["baselines"], note, about),
        "selectivity": _selectivity(dense, frames["baselines"], note),
        "calibration": _calibration(frames, about, note),
        "confusion": _confusion(frames["confusion"], about, note),
    }
    if spec.dictionary:
        found["k_sparse"] = _k_sparse(frames, note)
    if spec.edits:
        found |= {"effects": _effects(frames["applied"], about), "cost": _cost(frames["applied"], about)}
    return found


def _lines(scores: pd.DataFrame) -> pd.Series:
    """A line's name: the method, and the site where there are several."""
    words = scores["method"].str.replace("_", " ")
    return words if scores["site"].nunique() == 1 else words + ", " + scores["site"]


def _note(frames: Frames) -> str:
    first, about = frames["baselines"].iloc[0], frames["about"].iloc[0]
    left = f", {first['left_out']} left out: their classes are in one group" if first["left_out"] else ""
    where = "last token" if about["position"] == "last" else "mean over tokens"
    return (f"{TARGETS[about['target']].capitalize()}, {first['classes']} classes; {first['rows']} rows, "
            f"{first['groups']} groups{left}; {first['folds']} folds that share no group; {where}")  # fmt: skip


def _accuracy(scores: pd.DataFrame, baselines: pd.DataFrame, note: str, about: pd.Series) -> go.Figure:
    figure = lines(
        scores, x="layer", y="accuracy", low="low", high="high", group="line",
        title=f"Held-out accuracy: reading {TARGETS[about['target']]}", x_title="layer", y_title="accuracy",
        legend=f"bands: 95% over groups. {_levels(baselines)}. {note}",
    )  # fmt: skip
    for name, dash in (("majority", "dash"), ("words alone", "dot")):
        level = float(baselines.loc[baselines["baseline"] == name, "accuracy"].iloc[0])
        figure.add_hline(y=level, line={"color": QUIET, "width": 1, "dash": dash})
    # From 0, so that no line lies on the axis.
    return figure.update_yaxes(range=[0.0, 1.04])


def _levels(baselines: pd.DataFrame) -> str:
    by = baselines.set_index("baseline")["accuracy"]
    return (f"Dashed: commonest class {by['majority']:.2f}; dotted: words alone {by['words alone']:.2f}; "
            f"chance {by['chance']:.2f}")  # fmt: skip


def _selectivity(scores: pd.DataFrame, baselines: pd.DataFrame, note: str) -> go.Figure:
    first = baselines.iloc[0]
    types = {"group": "group", "last_token": "last token", "first_token": "first token"}[first["control_of"]]
    rare = "" if first["recurring"] else ". No type recurs: control labels cannot be learnt, selectivity says nothing"
    figure = lines(
        scores[np.isfinite(scores["selectivity"])], x="layer", y="selectivity", low="selectivity_low",
        high="selectivity_high", group="line",
        title="Selectivity: accuracy minus that of control labels, on the same folds",
        x_title="layer", y_title="accuracy − control accuracy",
        legend=f"control: a label at random for each {types}; both on random folds: {first['recurring']:.0%} of rows "
        f"have a type that is among those fitted on{rare}. Bands: 95% over groups. {note}",
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": QUIET, "width": 1})
    return figure


def _calibration(frames: Frames, about: pd.Series, note: str) -> go.Figure:
    scores, bins = frames["scores"], frames["reliability"]
    here = bins[(bins["site"] == about["site"]) & (bins["layer"] == about["layer"])]
    of = scores[(scores["site"] == about["site"]) & (scores["layer"] == about["layer"])]
    errors = {_named(row["method"], row["k"]): row["ece"] for _, row in of.iterrows()}
    table = here.assign(line=[
        f"{_named(m, k)} (ECE {errors[_named(m, k)]:.2f})" for m, k in zip(here["method"], here["k"], strict=True)
    ])  # fmt: skip
    table = table[~table["method"].eq(K_CHANNELS)]
    return scatter(
        table, x="confidence", y="accuracy", y_low="low", y_high="high", group="line", identity=True,
        correlation=False, title=f"Are probabilities right? Probes of {about['site']} L{about['layer']}",
        x_title="mean probability of the class predicted", y_title="share of rows for which it counts",
        legend=f"held-out rows in ten bins of the probability, bars: 95%; below the diagonal: too sure. {note}",
    )  # fmt: skip


def _named(method: str, k: object) -> str:
    words = str(method).replace("_", " ")
    return words if pd.isna(k) else f"{words}, k = {k}"  # type: ignore[call-overload]


def _probe(about: pd.Series) -> str:
    return f"{_named(about['method'], about['k'])} probe of {about['site']} L{about['layer']}"


def _applied(about: pd.Series) -> str:
    method, _, site = str(about["applied"]).partition(" of ")
    return f"{method.replace('_', ' ')} of {site}"


def _confusion(table: pd.DataFrame, about: pd.Series, note: str) -> go.Figure:
    order = list(dict.fromkeys(table["true"]))
    cells = grid(table, x="predicted", y="true", value="share", x_order=order, y_order=order)
    counts = table.drop_duplicates("true").set_index("true")["rows"]
    return sequential_heatmap(
        cells.to_numpy(), order, [f"{name} ({counts[name]:g})" for name in order], upside_down=True,
        title=f"Predictions of the {_probe(about)}", x_title="predicted", y_title="class (rows)",
        unit="share of the class", limits=(0.0, 1.0), legend=f"held-out predictions; rows add up to 1. {note}",
    )  # fmt: skip


def _k_sparse(frames: Frames, note: str) -> go.Figure:
    scores = frames["scores"]
    sparse = scores[scores["k"].notna()].copy()
    sparse["line"] = sparse["method"].map({K_SPARSE: "latents of the dictionary", K_CHANNELS: "channels of the site"})
    sparse["place"] = [f"k = {k}" for k in sparse["k"]]
    first = sparse.iloc[0]
    dense = scores[scores["k"].isna() & (scores["site"] == first["site"]) & (scores["layer"] == first["layer"])]
    beside = f", all channels {dense['accuracy'].max():.2f} (best method)" if len(dense) else ""
    return grouped_bars(
        sparse, x="place", group="line", value="accuracy", low="low", high="high", reference=float(first["majority"]),
        title=f"k-sparse probes of {first['site']} L{first['layer']}", x_title="latents or channels a class",
        y_title="accuracy",
        legend=f"bars: 95% over groups; dashed: commonest class {first['majority']:.2f}{beside}. {note}",
    )  # fmt: skip


def _bars(applied: pd.DataFrame, words: dict[str, str]) -> pd.DataFrame:
    """Rows with the place and the name of each bar, measure by measure, the probe's own before the control's."""
    rows = applied[applied["measure"].isin(words)]
    arms = rows["arm"].map({RANDOM: "random direction"}).fillna("edited")
    bars = [f"{words[measure]}: {arm}" for measure, arm in zip(rows["measure"], arms, strict=True)]
    places = [edit if pd.isna(amount) else f"{edit} {amount:+g}".replace("-", "−")
              for edit, amount in zip(rows["edit"], rows["amount"], strict=True)]  # fmt: skip
    order = rows["measure"].map(list(words).index) + arms.eq("random direction") / 2 - 10 * rows["edit"].eq(NOTHING)
    table = rows.assign(bar=bars, place=places, order=order)
    # Groups and places stand as they first appear: bars are sorted inside the places, which keep their order.
    first = {place: number for number, place in enumerate(dict.fromkeys(places))}
    first["nothing"] = -1
    return table.sort_values(["place", "order"], key=lambda one: one.map(first) if one.name == "place" else one)


def _whose(applied: pd.DataFrame, about: pd.Series) -> str:
    source = "fitted on the other texts" if about["source"] == "fitted here" else f"kept probe {about['source']}"
    texts = int(applied.loc[applied["measure"] == "kl", "texts"].max())
    return (f"{texts} texts that it was not fitted on ({source}); direction towards {about['class']!r}; every token "
            "but the first; a random direction moves it as far. Bars: 95% over groups; of random directions, where 95% "
            "of further draws are expected")  # fmt: skip


def _effects(applied: pd.DataFrame, about: pd.Series) -> go.Figure:
    words = {"hit": "probe right", "toward": f"probe says {about['class']!r}", "refit": "new probe right"}
    again = applied.loc[applied["measure"] == "refit", "texts"]
    fitted = f"New probe: fitted and tested on {again.iloc[0]} held-out texts, ablated. " if len(again) else ""
    return grouped_bars(
        _bars(applied, words), x="place", group="bar", value="mean", low="low", high="high",
        title=f"What edits do to the probe: {_applied(about)}",
        x_title="edit (amount in distances between class means)", y_title="share of texts",
        legend=f"{fitted}{_whose(applied, about)}",
    )  # fmt: skip


def _cost(applied: pd.DataFrame, about: pd.Series) -> go.Figure:
    words = {"loss_added": "loss of the text (nats a token)", "kl": "KL of the next token (nats)",
             "answer_added": "log P of the answer (nats)"}  # fmt: skip
    return grouped_bars(
        _bars(applied[applied["edit"] != NOTHING], words), x="place", group="bar", value="mean", low="low", high="high",
        title=f"Does the model use the direction? Probe: {_applied(about)}",
        x_title="edit (amount in distances between class means)", y_title="change (nats)",
        legend=_whose(applied, about),
    )  # fmt: skip
