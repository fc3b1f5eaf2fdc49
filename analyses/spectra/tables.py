"""The tables of spectra: measures over texts, pooled measures, the decay of the variance, texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analyses._activations import Text
from analyses._columns import bounds, no_rows
from analyses._common import LAYER
from analyses._contract import Column
from analyses._stats import Floats, mean_interval
from analyses.spectra.computing import ALL, DATA, Clouds, groups
from analyses.spectra.measures import MEASURES, TOP
from hooks.sites import Site


def spectra_table(found: Clouds, texts: Sequence[Text], sites: Sequence[Site], tokens: int) -> pd.DataFrame:
    """A row a site, layer, group of texts, kind of data and measure: mean over texts and interval."""
    parts = []
    for name, places in groups(texts).items():
        mean, low, high = mean_interval(found.values[places])
        # Student's t knows no bounds: no measure is negative, and a share is at most 1.
        high = np.where(np.asarray(MEASURES) == TOP, np.minimum(high, 1.0), high)
        sides = {"mean": mean, "low": np.maximum(low, 0.0), "high": high}
        parts.append(_long(sites, sides).assign(label=name, tokens=tokens, texts=len(places)))
    return pd.concat(parts, ignore_index=True)[[column.name for column in SPECTRA]]


def pooled_table(size: int, values: Mapping[str, Floats], sites: Sequence[Site], texts: Sequence[Text]) -> pd.DataFrame:
    """The same of pooled clouds, without intervals; no rows where nothing was pooled."""
    if not values:
        return no_rows(POOLED, layer="int64", value="float64", tokens="int64", texts="int64")
    members = groups(texts)
    least = min(len(places) for places in members.values())
    parts = [
        _long(sites, {"value": numbers}).assign(
            label=name, tokens=size, texts=len(members[name]) if name == ALL else least)
        for name, numbers in values.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)[[column.name for column in POOLED]]


def _long(sites: Sequence[Site], columns: Mapping[str, Floats]) -> pd.DataFrame:
    """One row for each of [site data measure], with these columns of that shape."""
    rows = [{"site": site.kind, "layer": site.layer, "data": data, "measure": measure}
            for site in sites for data in DATA for measure in MEASURES]  # fmt: skip
    return pd.DataFrame(rows).assign(**{name: np.asarray(values).ravel() for name, values in columns.items()})


def decay_table(found: Clouds, sites: Sequence[Site]) -> pd.DataFrame:
    """A row a site, layer and rank: the share of the variance along that principal direction, mean over texts."""
    mean, low, high = mean_interval(found.decay)
    ranks = np.arange(1, mean.shape[1] + 1)
    low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    parts = [
        pd.DataFrame({"site": site.kind, "layer": site.layer, "rank": ranks, "share": mean[place], "low": low[place],
                      "high": high[place]})
        for place, site in enumerate(sites)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def texts_table(texts: Sequence[Text], tokens: int) -> pd.DataFrame:
    """A row a text."""
    return pd.DataFrame([
        {"text": text.number, "label": text.label, "begins": text.begins, "total": text.total, "tokens": tokens}
        for text in texts
    ])  # fmt: skip


_SITE = Column("site", "", "whose vectors")
_LABEL = Column("label", "", "the texts: all of them, or those of one label")
_DATA = Column("data", "", "the model's, the same with each channel dealt anew over tokens, or Gaussian of that size")
_MEASURE = Column("measure", "", "participation, effective_rank (directions), coding_rate (nats), top_share (fraction)")
SPECTRA = (
    _SITE, LAYER, _LABEL, _DATA, _MEASURE,
    Column("mean", "by measure", "mean over texts, each text a cloud of its own"),
    Column("low", "by measure", "lower end of its 95% interval over texts, cut at 0; missing for one text"),
    Column("high", "by measure", "upper end, cut at 1 for a share"),
    Column("tokens", "count", "tokens in each cloud"),
    Column("texts", "count", "texts behind the row"),
)  # fmt: skip
POOLED = (
    _SITE, LAYER, _LABEL, _DATA, _MEASURE,
    Column("value", "by measure", "of one cloud that holds tokens of several texts"),
    Column("tokens", "count", "tokens in the cloud, the same in every row"),
    Column("texts", "count", "texts they are drawn from"),
)  # fmt: skip
DECAY = (
    _SITE, LAYER,
    Column("rank", "", "principal direction of a text's cloud, the largest variance first, from 1"),
    Column("share", "fraction", "share of the variance along it, mean over texts"),
    *bounds("fraction"),
)  # fmt: skip
TEXTS = (
    Column("text", "", "number of the text, from 0"),
    Column("label", "", "its label, if any"),
    Column("begins", "", "how it begins"),
    Column("total", "count", "its tokens"),
    Column("tokens", "count", "tokens drawn from it"),
)
