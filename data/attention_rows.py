"""Catalogue rows of captured attention: what every head did at every token kept, and its largest weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from einops import repeat

from data.catalogue import Layout
from data.catalogue_rows import constant
from hooks.captured_attention import AttentionRows

Pieces = Sequence[Sequence[AttentionRows]]
"""Of each pack in a shard, its layers; the rows of the packs follow one another as those of the shard do."""


def attention_scalars(name: str, layout: Layout, pieces: Pieces) -> pa.Table | None:
    """Rows of `attention_scalars` in order layer, token, head; None when no attention was captured."""
    if not pieces or not pieces[0]:
        return None
    numbers = list(pieces[0][0].numbers)
    tables = []
    for layer in _layers(pieces):
        values = {of: np.concatenate([one.numbers[of].numpy() for one in layer]) for of in numbers}
        heads = values[numbers[0]].shape[1]
        where = _where(name, layout, layer[0].layer, heads)
        tables.append(pa.table(where | {of: pa.array(_column(value)) for of, value in values.items()}))
    return pa.concat_tables(tables)


def attention_top(name: str, layout: Layout, pieces: Pieces) -> pa.Table | None:
    """Rows of `attention_top` in order layer, token, head, rank; None when no weights were captured."""
    if not pieces or not pieces[0] or not max(one[0].top_weights.shape[2] for one in pieces):
        return None
    tables = []
    for layer in _layers(pieces):
        most = max(one.top_weights.shape[2] for one in layer)
        weights, sources = (
            np.concatenate([_widened(getattr(one, of).numpy(), most, fill) for one in layer])
            for of, fill in (("top_weights", 0.0), ("top_positions", -1))
        )
        ranks = repeat(np.arange(most, dtype=np.int32), "k -> row head k", row=len(weights), head=weights.shape[1])
        there = sources.reshape(-1) >= 0
        table = pa.table(
            _where(name, layout, layer[0].layer, weights.shape[1], most)
            | {"rank": pa.array(ranks.reshape(-1)), "source": pa.array(_column(sources)), "weight": _column(weights)}
        )
        tables.append(table.filter(pa.array(there)))
    return pa.concat_tables(tables)


def _layers(pieces: Pieces) -> list[list[AttentionRows]]:
    """The packs' shares of each layer."""
    return [list(layer) for layer in zip(*pieces, strict=True)]


def _where(name: str, layout: Layout, layer: int, heads: int, each: int = 1) -> dict[str, pa.Array]:
    n_rows = layout.n_rows * heads * each
    return {
        "capture": constant(name, n_rows),
        "prompt": pa.array(np.repeat(layout.prompt, heads * each)),
        "position": pa.array(np.repeat(layout.position, heads * each)),
        "layer": pa.array(np.full(n_rows, layer, np.int32)),
        "head": pa.array(np.tile(np.repeat(np.arange(heads, dtype=np.int32), each), layout.n_rows)),
    }


def _column(values: np.ndarray) -> np.ndarray:
    """Flat, in the catalogue's number formats."""
    return values.reshape(-1).astype(np.int32 if values.dtype.kind == "i" else np.float32)


def _widened(values: np.ndarray, most: int, fill: float) -> np.ndarray:
    """[row head most]: a short row of prompts has fewer keys to rank."""
    return np.pad(values, ((0, 0), (0, 0), (0, most - values.shape[2])), constant_values=fill)
