"""The tables of attention patterns: the weights themselves, and what kind of looking each head does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from einops import einsum, reduce
from torch import Tensor

from analyses._contract import Frames
from hooks.attention_statistics import checked_layers
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

MAX_TOKENS = 256
"""Longest prompt: the map is T × T, 256² weights a head; streamed statistics are the tool for long text."""

MAX_WEIGHTS = 2_000_000
"""Most rows of the `patterns` table."""


def check_shown(model: Model, layers: Sequence[int], layer: int | None, head: int) -> None:
    """Raise InputError when `layer` is not among the layers read (none: all), or the model has no such head."""
    read = sorted(set(layers)) or range(model.geometry.n_layers)
    if layer is not None and layer not in read:
        known = ", ".join(map(str, read)) if layers else f"0 to {model.geometry.n_layers - 1}"
        raise InputError(f"option layer = {layer}: the layers that are read are {known}")
    if head >= model.geometry.n_heads:
        raise InputError(f"option head = {head}: valid heads are 0 to {model.geometry.n_heads - 1}")


@torch.no_grad()
def read_patterns(model: Model, prompt: str, layers: Sequence[int], progress: Progress) -> Frames:
    """The three frames of attention patterns. Raises InputError as `attention_patterns.run` says."""
    ids = model.encode(prompt)
    chosen = _resolve(model, len(ids), layers)
    progress(0.0, f"one forward over {len(ids)} tokens")
    tokens = torch.tensor([ids], device=model.device)
    cache = run_with_cache(model, tokens, [Site(layer, "pattern") for layer in chosen], last_only=True)
    weights, heads = [], []
    for place, layer in enumerate(chosen):
        progress(place / len(chosen), f"layer {layer}")
        pattern = cache[Site(layer, "pattern")][0].float()
        if not bool(torch.isfinite(pattern).all()):
            raise InputError(f"the attention weights of layer {layer} are not finite numbers; try dtype float32")
        weights.append(_weights(pattern, layer))
        heads.append(describe(pattern, layer, [model.geometry.group(h) for h in range(pattern.shape[0])]))
    texts = {"position": range(len(ids)), "token": model.str_tokens(ids), "token_id": ids}
    return {
        "patterns": pd.concat(weights, ignore_index=True),
        "heads": pd.concat(heads, ignore_index=True),
        "tokens": pd.DataFrame(texts),
    }


def describe(pattern: Tensor, layer: int, groups: Sequence[int]) -> pd.DataFrame:
    """One row a head of a [head destination source] pattern; missing values for a prompt of one token.

    Means leave out destination 0, whose row is 1 whatever the head does.
    """
    rows = pattern.double()[:, 1:]
    length = pattern.shape[-1]
    places = torch.arange(length, dtype=torch.float64, device=pattern.device)
    distance = (places[1:, None] - places[None, :]).clamp_min(0)
    before, itself = (
        reduce(torch.diagonal(pattern.double(), offset, 1, 2)[:, skip:], "head destination -> head", "mean")
        if length > 1
        else torch.full((pattern.shape[0],), float("nan"), device=pattern.device)
        for offset, skip in ((-1, 0), (0, 1))
    )
    entropy = -torch.special.xlogy(rows, rows).sum(dim=-1)
    per_head = {
        "entropy": entropy.mean(dim=-1),
        "sink_mass": rows[:, :, 0].mean(dim=-1),
        "mean_distance": einsum(rows, distance, "head dst src, dst src -> head dst").mean(dim=-1),
        "previous_token": before,
        "self_token": itself,
    }
    named = {name: values.cpu().numpy() for name, values in per_head.items()}
    return pd.DataFrame({"layer": layer, "head": range(len(groups)), "key_value_head": list(groups), **named})


def _weights(pattern: Tensor, layer: int) -> pd.DataFrame:
    """The lower triangle of every head as rows, in order head, destination, source."""
    heads, length, _ = pattern.shape
    destination, source = np.tril_indices(length)
    return pd.DataFrame({
        "layer": np.full(heads * len(source), layer, dtype=np.int64),
        "head": np.repeat(np.arange(heads, dtype=np.int64), len(source)),
        "destination": np.tile(destination.astype(np.int64), heads),
        "source": np.tile(source.astype(np.int64), heads),
        "weight": pattern.cpu().numpy()[:, destination, source].ravel().astype(np.float64),
    })  # fmt: skip


def _resolve(model: Model, length: int, layers: Sequence[int]) -> list[int]:
    if length > MAX_TOKENS:
        raise InputError(
            f"the prompt has {length} tokens; attention patterns are drawn for at most {MAX_TOKENS}, because the map "
            "of every head has tokens × tokens cells: shorten the prompt"
        )
    geometry = model.geometry
    chosen = checked_layers(model, layers)
    each = geometry.n_heads * length * (length + 1) // 2
    if each * len(chosen) > MAX_WEIGHTS:
        raise InputError(
            f"{len(chosen)} layers × {geometry.n_heads} heads × {length} tokens are {each * len(chosen):,} weights, "
            f"at most {MAX_WEIGHTS:,} fit: choose at most {max(1, MAX_WEIGHTS // each)} layers, or a shorter prompt"
        )
    return chosen
