"""The logit lens of every layer and position, streamed over the vocabulary, beside the bare matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._harness import REPEATS, Row, at_most, compared, in_turns, within
from benchmarks._memory import peak_bytes
from hooks.capture import run_with_cache
from hooks.load import load
from hooks.sites import Site
from kernels.vocab_lens import naive, vocab_lens

LENGTH, TOP = 1024, 10
SHAPES = ((256, 49152), (2048, 4096))
"""Blocks in which the peer multiplies, rows × vocabulary; the faster of them counts."""


def rows(workspace: Path) -> Iterator[Row]:
    """Top 10, entropy and one target of 30 layers × 1,024 positions; the peer only multiplies, a block at a time."""
    model = load("smollm2-135m", workspace)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.geometry.d_vocab, (1, LENGTH), generator=generator)
    sites = [Site(layer, "resid_post") for layer in range(model.geometry.n_layers)]
    cache = run_with_cache(model, tokens, sites, last_only=True)
    hidden = torch.cat([model.final_norm(cache[site][0]) for site in sites])
    targets = tokens[0].roll(-1).repeat(len(sites))[:, None]
    del cache
    few = slice(0, len(hidden), 61)
    name = f"logit lens, {len(sites)} layers × {LENGTH} positions, top {TOP} and a target"
    wanted = naive.vocab_lens(hidden[few], model.W_U, k=TOP, targets=targets[few])
    found = vocab_lens(hidden[few], model.W_U, k=TOP, targets=targets[few])
    difference = compared(name, float((found.top_log_probs - wanted.top_log_probs).abs().max()), 1e-3)
    ours = partial(vocab_lens, hidden, model.W_U, k=TOP, targets=targets)
    peers = {f"{rows} × {ids}": partial(_products, hidden, model.W_U, rows, ids) for rows, ids in SHAPES}
    medians = in_turns({"ours": ours} | peers, REPEATS)
    best = min(peers, key=lambda shape: medians[shape])
    note = f"peer: the matrix products alone, in blocks of {best}; ours: {found.backend}"
    yield within(name, medians["ours"], medians[best], 1.1, difference=difference, note=note)
    yield at_most(f"{name}: extra memory", peak_bytes(ours) / 1e6, 200.0, "MB", "the logits would be 6,040 MB")


@torch.no_grad()
def _products(hidden: Tensor, W_U: Tensor, rows: int, ids: int) -> None:
    """Every logit, computed into the same buffer a block at a time and not looked at."""
    buffer = torch.empty(rows * ids)
    for some in hidden.split(rows):
        for columns in W_U.split(ids, dim=1):
            torch.mm(some, columns, out=buffer[: len(some) * columns.shape[1]].view(len(some), -1))
