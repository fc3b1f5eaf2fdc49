"""The neuron reader's numbers: words of every neuron, its norms, and what it does in the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analyses._common import steps
from analyses._contract import Context
from analyses._neurons import Direction, NormUse, Words, rows, through_final_norm, words_of
from hooks.capture import run_with_cache
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

RANDOM = 1000
"""Gaussian directions that say how far a direction without a meaning singles out its first token."""
MOST_BYTES = 2**28
"""Activations of a prompt that are held together."""


def read_words(
    model: Model, layers: Sequence[int], directions: Sequence[Direction], norm: NormUse, most: int, context: Context,
    name: str = "words", *, first: float = 0.0, last: float = 1.0,
) -> pd.DataFrame:  # fmt: skip
    """Every neuron's words: layer, neuron, direction, rank, token_id, value, z; one part a layer."""
    parts = []
    for layer, _ in steps(context, layers, f"{name}, layer", first=first, last=last):
        compute = partial(_layer, model, layer, directions, norm, most)
        parts.append(context.part(f"{name} of layer {layer}", compute))
    return pd.concat(parts, ignore_index=True)


def random_words(model: Model, norm: NormUse, most: int) -> pd.DataFrame:
    """The same of RANDOM Gaussian directions, which have no layer."""
    drawn = torch.randn(RANDOM, model.geometry.d_model, generator=torch.Generator().manual_seed(0))
    frame = words_frame(words_of(through_final_norm(model, drawn.to(model.device), norm), model.W_U, most))
    return frame.assign(direction="random", layer=pd.array([None] * len(frame), dtype="Int64"))


def words_frame(words: Words) -> pd.DataFrame:
    """neuron, rank, token_id, value, z: rank 1 is the most promoted token, −1 the most suppressed."""
    parts = []
    for ids, values, sign in (
        (words.promoted, words.promoted_values, 1), (words.suppressed, words.suppressed_values, -1),
    ):  # fmt: skip
        count, most = ids.shape
        parts.append(pd.DataFrame({
            "neuron": np.repeat(np.arange(count), most), "rank": np.tile(sign * np.arange(1, most + 1), count),
            "token_id": ids.flatten().cpu().numpy(), "value": values.flatten().cpu().numpy().astype(float),
            "z": words.z(values).flatten().cpu().numpy().astype(float),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _layer(model: Model, layer: int, directions: Sequence[Direction], norm: NormUse, most: int) -> pd.DataFrame:
    parts = [
        words_frame(words_of(rows(model, layer, direction, norm), model.W_U, most)).assign(direction=direction)
        for direction in directions
    ]
    return pd.concat(parts, ignore_index=True).assign(layer=layer)


def neurons_frame(model: Model, text: str, layers: Sequence[int]) -> pd.DataFrame:
    """Every neuron's norms, and its activations in the prompt: the largest by size, where, and at the last token."""
    ids = model.tokens(text)
    together = max(1, MOST_BYTES // (4 * ids.shape[1] * model.geometry.d_mlp))
    parts = []
    for start in range(0, len(layers), together):
        sites = [Site(layer, "mlp_post") for layer in layers[start : start + together]]
        run = run_with_cache(model, ids, sites, last_only=True)
        parts += [_activity(model, site, run[site][0].float()) for site in sites]
    return pd.concat(parts, ignore_index=True)


def _activity(model: Model, site: Site, activations: torch.Tensor) -> pd.DataFrame:
    """`activations` [pos d_mlp] of one layer."""
    layer = site.layer
    assert layer is not None
    at = activations.abs().argmax(dim=0)
    gate = model.W_gate(layer)
    numbers = {
        "out_norm": model.W_out(layer).float().norm(dim=1),
        "in_norm": model.W_in(layer).float().norm(dim=0),
        "gate_norm": at.new_full(at.shape, float("nan"), dtype=torch.float32) if gate is None
        else gate.float().norm(dim=0),
        "peak": activations.gather(0, at[None])[0],
        "last": activations[-1],
    }  # fmt: skip
    frame = pd.DataFrame({name: column.cpu().numpy().astype(float) for name, column in numbers.items()})
    return frame.assign(layer=layer, neuron=range(len(frame)), at=at.cpu().numpy())
