"""The tables of activation sparsity: the verdict, layers, the curve over CETT, baselines, texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._activations import Text
from analyses._columns import bounds
from analyses._common import LAYER
from analyses._contract import Column
from analyses._stats import mean_interval, ratio_interval
from analyses.activation_sparsity.computing import Found, Measured, percent, rise

if TYPE_CHECKING:
    from analyses.activation_sparsity import SparsitySpec
    from analyses.activation_sparsity.thresholds import LayerFit

DENSE, THRESHOLDS, TOP, RANDOM = "dense", "thresholds", "largest |activation|", "random neurons"
FITTED, HELD_OUT = "thresholds", "held out"


def layers_table(fitted: Mapping[int, LayerFit], allowed: float, sparse: Measured) -> pd.DataFrame:
    """A row a layer; `sparse` are the held-out texts with all thresholds in force."""
    mean, low, high = mean_interval(sparse.kept)
    # Student's t of few texts knows no bounds.
    low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    rows = []
    for place, (layer, fit) in enumerate(fitted.items()):
        level = fit.level(allowed)
        rows.append({
            "layer": layer, "threshold": float(fit.candidates[level]), "cett": fit.cett(level),
            "fitted_ratio": fit.ratio(level), "ratio": mean[place], "low": low[place], "high": high[place],
            "texts": len(sparse.kept),
        })  # fmt: skip
    return pd.DataFrame(rows)


def curve_table(
    rows: Sequence[tuple[float, Measured, Measured, Mapping[str, Measured]]], dense: tuple[Measured, Measured]
) -> pd.DataFrame:
    """A row a level of CETT: the fitted and the held-out texts, and the baselines on the latter; zero stands first."""
    found = []
    for allowed, *both, others in [(0.0, *dense, {}), *rows]:
        row = {"cett": allowed, "ratio": float(both[1].kept.mean())}
        for name, one, plain in zip(("fitted", "held_out"), both, dense, strict=True):
            row |= {f"{name}_perplexity": _power(one.loss), f"{name}_rise": rise(one, plain)}
        for name, arm in (("largest", TOP), ("random", RANDOM)):
            row[f"{name}_perplexity"] = _power(others.get(arm, dense[1]).loss)
        found.append(row)
    return pd.DataFrame(found)


def _power(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def arms_table(arms: Mapping[str, Measured], dense: Measured) -> pd.DataFrame:
    """A row an arm over the held-out texts; the change's interval is over texts, each weighing by its tokens."""
    rows = []
    for name, one in ({DENSE: dense} | dict(arms)).items():
        change = one.totals - dense.totals
        mean, low, high = (float(side) for side in ratio_interval(change, dense.predicted))
        rows.append({
            "arm": name, "ratio": float(one.kept.mean()), "loss": one.loss, "perplexity": _power(one.loss),
            "change": mean, "low": low, "high": high, "rise": percent(mean), "rise_low": percent(low),
            "rise_high": percent(high), "texts": len(change), "predicted": int(dense.predicted.sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def texts_table(
    parts: Mapping[str, tuple[Sequence[Text], Measured, Measured]],
) -> pd.DataFrame:
    """A row a text; `parts` give by part the texts, their dense and their sparse losses."""
    rows = [
        {"text": text.number, "label": text.label, "begins": text.begins, "part": part, "tokens": text.total,
         "dense": dense.totals[place] / dense.predicted[place], "sparse": sparse.totals[place] / dense.predicted[place]}
        for part, (texts, dense, sparse) in parts.items() for place, text in enumerate(texts)
    ]  # fmt: skip
    return pd.DataFrame(rows).sort_values("text", ignore_index=True)


def verdict_table(found: Found, arms: pd.DataFrame, spec: SparsitySpec, fitted: int, tokens: int) -> pd.DataFrame:
    """One row: what was asked, what was found, and the same in words."""
    arm = arms.set_index("arm").loc[THRESHOLDS].to_dict()
    several = np.isfinite(arm["low"])
    interval = f" [{arm['rise_low']:.2f}, {arm['rise_high']:.2f}]" if several else ""
    reach = "" if found.reached else f" (asked: {spec.increase:g}%, which no CETT tried gives)"
    held = f"{int(arm['texts'])} held-out text{'s' if arm['texts'] > 1 else ''}"
    words = (
        f"{arm['ratio']:.1%} of the neurons speak at CETT {found.allowed:.4g}: perplexity {found.rise:+.2f}% on the "
        f"{fitted} text{'s' if fitted > 1 else ''} of the thresholds{reach}, {arm['rise']:+.2f}%{interval} on {held}"
    ).replace("-", "−")
    row = {"target": spec.increase, "cett": found.allowed, "reached": found.reached, "fitted_rise": found.rise,
           "rise": arm["rise"], "low": arm["rise_low"], "high": arm["rise_high"], "ratio": arm["ratio"],
           "fitted_texts": fitted, "held_out_texts": int(arm["texts"]), "tokens": tokens}  # fmt: skip
    return pd.DataFrame([row | {"statement": words.replace("held−out", "held-out")}])


VERDICT = (
    Column("target", "%", "the rise of perplexity asked for"),
    Column("cett", "fraction", "the CETT that all layers share"),
    Column("reached", "", "whether the rise on the texts of the thresholds is the target within the tolerance"),
    Column("fitted_rise", "%", "rise of perplexity on the texts that thresholds and CETT were found on"),
    Column("rise", "%", "rise of perplexity on the held-out texts"),
    *bounds("%"),
    Column("ratio", "fraction", "neurons that speak, mean over held-out tokens, texts and layers"),
    Column("fitted_texts", "count", "texts of the thresholds"),
    Column("held_out_texts", "count", "texts held out"),
    Column("tokens", "count", "tokens on which a layer's CETT is measured"),
    Column("statement", "", "the same in words"),
)
LAYERS = (
    LAYER,
    Column("threshold", "", "length of a contribution (in units of the stream) up to which a neuron is dropped"),
    Column("cett", "fraction", "‖dropped contributions‖ / ‖all contributions‖, mean over the tokens of the search"),
    Column("fitted_ratio", "fraction", "neurons above the threshold on those tokens, nothing dropped elsewhere"),
    Column("ratio", "fraction", "neurons that speak in the held-out texts, all thresholds in force, mean over texts"),
    *bounds("fraction"),
    Column("texts", "count", "held-out texts"),
)
CURVE = (
    Column("cett", "fraction", "the CETT that all layers share"),
    Column("ratio", "fraction", "neurons that speak in the held-out texts, mean over layers"),
    Column("fitted_perplexity", "", "perplexity of the texts of the thresholds"),
    Column("fitted_rise", "%", "its rise over that with nothing dropped"),
    Column("held_out_perplexity", "", "perplexity of the held-out texts"),
    Column("held_out_rise", "%", "its rise over that with nothing dropped"),
    Column("largest_perplexity", "", "the same texts with as many neurons of a layer, those of largest |activation|"),
    Column("random_perplexity", "", "the same with neurons drawn at random for every token"),
)
ARMS = (
    Column("arm", "", "who speaks: all, those above the thresholds, as many of the largest, as many at random"),
    Column("ratio", "fraction", "neurons that speak, mean over tokens, texts and layers"),
    Column("loss", "nats", "mean loss a predicted token"),
    Column("perplexity", "", "exp of the loss"),
    Column("change", "nats", "loss − dense loss"),
    Column("low", "nats", "lower end of its 95% interval over texts, weighed by tokens; missing for one text"),
    Column("high", "nats", "upper end"),
    Column("rise", "%", "rise of perplexity"),
    Column("rise_low", "%", "lower end"),
    Column("rise_high", "%", "upper end"),
    Column("texts", "count", "held-out texts"),
    Column("predicted", "count", "their predicted tokens"),
)
TEXTS = (
    Column("text", "", "number of the text, from 0"),
    Column("label", "", "its label, if any"),
    Column("begins", "", "how it begins"),
    Column("part", "", "thresholds: thresholds and CETT were found on it; held out: they were not"),
    Column("tokens", "count", "its tokens"),
    Column("dense", "nats", "mean loss a predicted token, nothing dropped"),
    Column("sparse", "nats", "the same with the thresholds in force"),
)
