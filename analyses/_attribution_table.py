"""The tables of direct logit attribution: means and intervals over pairs, by component, sublayer, step and neuron."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._contract import Column
from analyses._stats import bootstrap_mean, excludes_zero

ATTENTION = ("head", "attention bias")
MLP = ("mlp", "mlp bias")
PARTS = {
    "embedding": "embedding",
    **dict.fromkeys(ATTENTION, "attention"),
    **dict.fromkeys(MLP, "mlp"),
    "output bias": "bias",
}
"""The sublayer that each kind of component belongs to."""


def by_component(values: pd.DataFrame) -> pd.DataFrame:
    """Every component's mean contribution, with its interval over pairs."""
    table = _over_pairs(values, ["component", "kind", "layer", "head"])
    return table.assign(distinguishable=excludes_zero(table["low"].to_numpy(), table["high"].to_numpy()))


def by_sublayer(values: pd.DataFrame) -> pd.DataFrame:
    """The same, with a layer's heads and attention bias added up, and its MLP and MLP bias."""
    return _over_pairs(values.assign(part=values["kind"].map(PARTS)), ["layer", "part"])


def accumulate(values: pd.DataFrame) -> pd.DataFrame:
    """Running sums in the order of the model: what the difference is after each sublayer, at the final norm's scale."""
    parts = values.assign(part=values["kind"].map(PARTS))
    wide = _matrix(parts, ["layer", "part"])
    mean, low, high = bootstrap_mean(wide.to_numpy().cumsum(axis=1))
    steps = wide.columns.to_frame(index=False)
    labels = [_step_name(layer, part) for layer, part in zip(steps["layer"], steps["part"], strict=True)]
    return pd.DataFrame({"step": range(len(labels)), "after": labels}).assign(
        layer=steps["layer"], mean=mean, low=low, high=high
    )


def strongest_mlp(values: pd.DataFrame) -> int:
    """The layer whose MLP has the largest mean contribution either way; the first of equals."""
    mlps = _over_pairs(values[values["kind"] == "mlp"], ["component", "layer"])
    return int(mlps["layer"].iloc[int(mlps["mean"].abs().argmax())])


def by_neuron(neurons: pd.DataFrame, keep: int) -> pd.DataFrame:
    """The neurons with the largest mean contribution either way, and (neuron −1) the sum of all others."""
    wide = _matrix(neurons, ["layer", "neuron"])
    activation = _matrix(neurons, ["layer", "neuron"], "activation").to_numpy().mean(axis=0)
    order = np.argsort(-np.abs(wide.to_numpy().mean(axis=0)), kind="stable")
    kept, rest = order[:keep], order[keep:]
    matrix = np.column_stack([wide.to_numpy()[:, kept], wide.to_numpy()[:, rest].sum(axis=1)])
    mean, low, high = bootstrap_mean(matrix)
    named = [int(wide.columns[i][1]) for i in kept]
    return pd.DataFrame({"layer": int(wide.columns[0][0]), "neuron": [*named, -1]}).assign(
        activation=[*activation[kept], np.nan], mean=mean, low=low, high=high
    )


def _over_pairs(values: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    wide = _matrix(values, keys)
    mean, low, high = bootstrap_mean(wide.to_numpy())
    return wide.columns.to_frame(index=False).assign(mean=mean, low=low, high=high)


def _matrix(values: pd.DataFrame, keys: Sequence[str], value: str = "contribution") -> pd.DataFrame:
    """[pair key], summed within a pair, keys in the order in which the model has them."""
    summed = values.groupby(["pair", *keys], sort=False)[value].sum()
    order = pd.MultiIndex.from_frame(values[list(keys)].drop_duplicates())
    return summed.unstack(list(keys))[order]


def _step_name(layer: int, part: str) -> str:
    return {"embedding": "embedding", "bias": "output biases"}.get(part, f"L{layer} {'MLP' if part == 'mlp' else part}")


_INTERVAL = (
    Column("mean", "logits", "mean over pairs; the one pair's value when there is one"),
    Column("low", "logits", "lower end of the 95% bootstrap interval; missing for one pair"),
    Column("high", "logits", "upper end of the 95% bootstrap interval; missing for one pair"),
)
_LAYER = Column("layer", "", "layer; −1 is the embedding, one past the last are the output biases")
_COMPONENT = (
    Column("component", "", "what writes: L9H6 is head 6 of layer 9"),
    Column("kind", "", "embedding, head, attention bias, mlp, mlp bias or output bias"),
    _LAYER,
    Column("head", "", "head, or −1"),
)
COLUMNS = {
    "components": (*_COMPONENT, *_INTERVAL, Column("distinguishable", "", "the interval excludes zero")),
    "sublayers": (_LAYER, Column("part", "", "embedding, attention, mlp or bias"), *_INTERVAL),
    "accumulated": (
        Column("step", "", "order in the model, from 0"),
        Column("after", "", "last component that is in the sum"),
        _LAYER,
        *_INTERVAL,
    ),
    "neurons": (
        Column("layer", "", "layer of the MLP"),
        Column("neuron", "", "neuron; −1 is the sum of all others"),
        Column("activation", "activation", "its mean activation at the last position; missing for the sum"),
        *_INTERVAL,
    ),
    "identity": (
        Column("pair", "", "pair number"),
        Column("prompt", "", "clean prompt"),
        Column("answer", "", "token counted for"),
        Column("distractor", "", "token counted against"),
        Column("logit_diff", "logits", "logit(answer) − logit(distractor) as the model computed it"),
        Column("sum_of_parts", "logits", "sum of all components"),
        Column("residual_error", "logits", "sum_of_parts − logit_diff"),
    ),
    "values": (Column("pair", "", "pair number"), *_COMPONENT, Column("contribution", "logits", "its direct effect")),
}
