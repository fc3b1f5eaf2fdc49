"""The tables of attention statistics, read layer by layer from one forward without a tokens × tokens map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Frames
from hooks.attention_statistics import StatisticsPlan, attention_statistics, checked_layers
from hooks.errors import InputError
from hooks.progress import Progress

if TYPE_CHECKING:
    from hooks.model import Model
    from kernels.attention_stats import AttentionStats

NUMBERS = ("entropy", "max_weight", "sink_mass", "recent_mass", "mean_distance", "distance_deviation")


def read_statistics(
    model: Model, prompt: str, *, layers: Sequence[int], sink: int, window: int, bins: int, keys: int,
    progress: Progress,
) -> Frames:  # fmt: skip
    """The four frames of attention statistics. Raises InputError as `attention_statistics.run` says."""
    ids = model.encode(prompt)
    if len(ids) < 2:
        raise InputError("the prompt has one token, which can only look at itself: give at least two")
    if sink >= len(ids):
        raise InputError(f"sink is {sink} tokens and the prompt has {len(ids)}: valid values are 1 to {len(ids) - 1}")
    plan = StatisticsPlan(
        tuple(checked_layers(model, layers)), (("sink", 0, sink),), (window,), forgetting=1.0 if keys else None
    )
    places = bin_edges(len(ids), bins)
    heads: list[pd.DataFrame] = []
    along: list[pd.DataFrame] = []
    looked_at: list[pd.DataFrame] = []

    def each(layer: int, found: AttentionStats) -> None:
        named = numbers(found)
        groups = [model.geometry.group(head) for head in range(model.geometry.n_heads)]
        means = {name: values[:, 1:].mean(dim=1).cpu().numpy() for name, values in named.items()}
        heads.append(pd.DataFrame({"layer": layer, "head": range(len(groups)), "key_value_head": groups, **means}))
        along.append(_along(named, places, layer))
        if found.key_mass is not None:
            looked_at.append(_keys(found.key_mass[0].double(), min(keys, len(ids)), layer))

    attention_statistics(model, torch.tensor([ids], device=model.device), plan, each, progress)
    nothing = pd.DataFrame({"layer": [], "head": [], "order": [], "position": [], "share": []})
    texts = {"position": range(len(ids)), "token": model.str_tokens(ids), "token_id": ids}
    return {
        "heads": pd.concat(heads, ignore_index=True),
        "along": pd.concat(along, ignore_index=True),
        "keys": pd.concat(looked_at, ignore_index=True) if looked_at else nothing,
        "tokens": pd.DataFrame(texts),
    }


def numbers(found: AttentionStats) -> dict[str, Tensor]:
    """The NUMBERS of one prompt, each [head pos] in fp64."""
    values = (
        found.entropy,
        found.max_weight,
        found.span_mass[..., 0],
        found.recency_mass[..., 0],
        found.distance_mean,
        found.distance_deviation,
    )
    return {name: value[0].double() for name, value in zip(NUMBERS, values, strict=True)}


def bin_edges(length: int, bins: int) -> np.ndarray:
    """Edges of at most `bins` bins of positions, as equal as whole tokens allow; the last edge is `length`."""
    return np.unique(np.linspace(0, length, min(bins, length) + 1).round().astype(np.int64))


def _along(named: Mapping[str, Tensor], edges: np.ndarray, layer: int) -> pd.DataFrame:
    """Means over bins of positions, in order head, bin: differences of the running sum at the edges."""
    n_heads, n_bins = next(iter(named.values())).shape[0], len(edges) - 1
    at = torch.from_numpy(edges)
    frame = {
        "layer": np.full(n_heads * n_bins, layer, dtype=np.int64),
        "head": np.repeat(np.arange(n_heads, dtype=np.int64), n_bins),
        "first": np.tile(edges[:-1], n_heads),
        "last": np.tile(edges[1:] - 1, n_heads),
    }
    for name, values in named.items():
        total = torch.nn.functional.pad(values.cpu().cumsum(dim=1), (1, 0))[:, at]
        frame[name] = (total.diff(dim=1) / at.diff()).reshape(-1).numpy()
    return pd.DataFrame(frame)


def _keys(mass: Tensor, count: int, layer: int) -> pd.DataFrame:
    """The keys that receive the largest share of each head's attention, in order head, rank."""
    top = (mass / mass.shape[1]).topk(count, dim=1)
    return pd.DataFrame({
        "layer": layer,
        "head": np.repeat(np.arange(len(mass), dtype=np.int64), count),
        "order": np.tile(np.arange(count, dtype=np.int64), len(mass)),
        "position": top.indices.reshape(-1).cpu().numpy(),
        "share": top.values.reshape(-1).cpu().numpy(),
    })  # fmt: skip
