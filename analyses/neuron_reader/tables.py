"""The neuron reader's tables: the index of words, the neurons, layers beside random directions, and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch.nn.functional import cosine_similarity

from analyses._common import LAYER, TOKENS
from analyses._contract import Column
from analyses._neurons import Direction, rows

if TYPE_CHECKING:
    from hooks.model import Model

SIDES = {1: "promoted", -1: "suppressed"}
QUANTILE = 0.99
"""Of random directions: a first token that stands out more is the neuron's own."""
_KEY = ["layer", "direction", "neuron"]


def words_index(words: pd.DataFrame, texts: Sequence[str]) -> pd.DataFrame:
    """The words with their tokens' texts [d_vocab], ordered by text, so that SQL reads a small part of them."""
    frame = words.assign(token=pd.Series(list(texts), dtype=object).take(words["token_id"].to_numpy()).to_numpy())
    frame = frame.assign(size=-frame["z"].abs()).sort_values(["token", "token_id", "size", *_KEY], kind="stable")
    return frame[[column.name for column in COLUMNS["words"]]].reset_index(drop=True)


def layers_table(words: pd.DataFrame, random: pd.DataFrame, texts: Sequence[str]) -> pd.DataFrame:
    """By layer and direction how far the first token stands out, beside random directions, and how many there are."""
    found: list[dict[str, Any]] = []
    bar = float(random.loc[random["rank"] == 1, "z"].quantile(QUANTILE))
    both = pd.concat([words, random], ignore_index=True)
    for (layer, direction), part in both[both["rank"] == 1].groupby(["layer", "direction"], sort=False, dropna=False):
        counts = part["token_id"].value_counts()
        low, middle, high = part["z"].quantile([0.1, 0.5, 0.9])
        commonest = int(counts[counts == counts.max()].index.min())
        found.append({
            "layer": layer, "direction": direction, "neurons": len(part), "z": middle, "z_low": low, "z_high": high,
            "beyond": float((part["z"] > bar).mean()), "different": len(counts),
            "commonest": texts[commonest], "share": float(counts.max()) / len(part),
        })  # fmt: skip
    frame = pd.DataFrame(found)
    return frame.assign(layer=frame["layer"].astype("Int64"))


def agreement_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """By layer, direction and side how many neurons have the same first token in both, and what chance would give."""
    names = ["same_top", "chance", "overlap"]
    columns = ["layer", "direction", "side", "neurons", *names]
    if theirs.empty:
        return pd.DataFrame({name: pd.Series(dtype=_TYPES.get(name, "float64")) for name in columns})
    found: list[dict[str, Any]] = []
    for (layer, direction), part in ours.groupby(["layer", "direction"], sort=False):
        other = theirs[(theirs["layer"] == layer) & (theirs["direction"] == direction)]
        found += [
            {"layer": layer, "direction": direction, "side": side} | _agreed(part, other, sign)
            for sign, side in SIDES.items()
        ]
    frame = pd.DataFrame(found)
    whole = frame.groupby(["direction", "side"], as_index=False, sort=False).agg(
        {"neurons": "sum"} | dict.fromkeys(names, "mean")  # every layer has equally many neurons
    )
    frame = pd.concat([frame, whole.assign(layer=None)], ignore_index=True)
    return frame.assign(layer=frame["layer"].astype("Int64"))[columns]


_TYPES = {"layer": "Int64", "direction": "object", "side": "object", "neurons": "int64"}


def _agreed(ours: pd.DataFrame, theirs: pd.DataFrame, sign: int) -> dict[str, Any]:
    """Of one layer and direction; chance: two neurons drawn apart from each other, one from either model."""
    first, second = (_matrix(one, sign) for one in (ours, theirs))
    tops = [pd.Series(one[:, 0]).value_counts(normalize=True) for one in (first, second)]
    shared = (first[:, :, None] == second[:, None, :]).any(axis=2).sum(axis=1)
    return {
        "neurons": len(first), "same_top": float((first[:, 0] == second[:, 0]).mean()),
        "chance": float(tops[0].mul(tops[1], fill_value=0.0).sum()),
        "overlap": float(np.mean(shared / (2 * first.shape[1] - shared))),
    }  # fmt: skip


def _matrix(words: pd.DataFrame, sign: int) -> np.ndarray:
    """[neuron k] token ids of one side, the first first."""
    side = words[np.sign(words["rank"]) == sign]
    return side.assign(rank=side["rank"].abs()).pivot(index="neuron", columns="rank", values="token_id").to_numpy()


def weights_table(
    model: Model, other: Model | None, layers: Sequence[int], directions: Sequence[Direction]
) -> pd.DataFrame:
    """Cosine of both models' directions, neuron by neuron: quantiles over a layer."""
    names = ["layer", "direction", "cosine", "cosine_low", "cosine_high"]
    found = []
    for layer in layers if other is not None else ():
        for direction in directions:
            assert other is not None
            ours, theirs = rows(model, layer, direction), rows(other, layer, direction)
            cosines = cosine_similarity(ours, theirs.to(ours), dim=1).cpu().numpy().astype(float)
            low, middle, high = np.quantile(cosines, [0.1, 0.5, 0.9])
            found.append((layer, direction, middle, low, high))
    frame = pd.DataFrame(found, columns=names)
    return frame if found else frame.astype({name: _TYPES.get(name, "float64") for name in names} | {"layer": "int64"})


_DIRECTION = Column("direction", "", "out: what the neuron writes; in: what it reads; gate: what opens it")
NEURON = Column("neuron", "", "neuron of the layer's MLP, from 0")

COLUMNS = {
    "words": (
        Column("token", "", "a token that the neuron's direction promotes or suppresses most; rows are in its order"),
        Column("token_id", "", "its id"),
        LAYER,
        NEURON,
        _DIRECTION,
        Column("rank", "", "1: the most promoted token, 2: the next; −1: the most suppressed, −2: the next"),
        Column("value", "logit per unit", "product of direction and the token's unembedding, without a bias"),
        Column("z", "standard deviations", "how far that lies from the mean over the vocabulary"),
    ),
    "neurons": (
        LAYER,
        NEURON,
        Column("out_norm", "", "length of what it writes when its activation is 1"),
        Column("in_norm", "", "length of what it reads"),
        Column("gate_norm", "", "length of what opens it; missing in MLPs without a gate"),
        Column("peak", "activation", "in the prompt, where its size is largest"),
        Column("at", "", "position of the peak, from 0"),
        Column("last", "activation", "at the prompt's last token"),
    ),
    "layers": (
        Column("layer", "", "layer, from 0; missing for the random directions"),
        Column("direction", "", f"{_DIRECTION.description}; random: Gaussian directions, which mean nothing"),
        Column("neurons", "count", "directions behind the row"),
        Column("z", "standard deviations", "of the most promoted token, median over the neurons"),
        Column("z_low", "standard deviations", "its 10% quantile over the neurons"),
        Column("z_high", "standard deviations", "its 90% quantile"),
        Column("beyond", "share", "of directions whose first token stands out more than in 99% of the random ones"),
        Column("different", "count", "different most promoted tokens"),
        Column("commonest", "", "the token that is most promoted by most neurons"),
        Column("share", "share", "of neurons that promote it most"),
    ),
    "agreement": (
        Column("layer", "", "layer, from 0; missing: all layers that were read"),
        _DIRECTION,
        Column("side", "", "promoted or suppressed"),
        Column("neurons", "count", "neurons compared"),
        Column("same_top", "share", "of neurons with the same first token in both models"),
        Column("chance", "share", "expected for neurons paired at random, from how often each token comes first"),
        Column("overlap", "share", "mean of tokens common to both, over tokens in either"),
    ),
    "weights": (
        LAYER,
        _DIRECTION,
        Column("cosine", "", "of the neuron's direction in both models, median over the neurons"),
        Column("cosine_low", "", "its 10% quantile over the neurons"),
        Column("cosine_high", "", "its 90% quantile"),
    ),
    "prompt": TOKENS,
}  # fmt: skip
