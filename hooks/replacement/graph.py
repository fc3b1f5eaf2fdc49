"""The attribution graph of one prompt: edges into every kept latent and logit, from all that was written before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hooks.errors import InputError
from hooks.progress import Progress, silent
from hooks.replacement.backward import Backward
from hooks.replacement.influence import TINY
from hooks.replacement.local import LocalModel
from hooks.replacement.transcoders import Features

CHUNK = 48
"""Targets whose gradients go back together; [pos target d_model] of them is what a chunk needs."""
ROUNDS = 4
"""In how many rounds latents are chosen where there are more than wanted."""
BLOCK = 256
"""Rows that are copied together."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order: features, errors (layer by layer, in a layer by position), tokens, logits.

    Attributes:
        features: the kept latents.
        logits: [logit] token ids whose logits are targets, likeliest first, and `probabilities` [logit] theirs.
        rows: [target node] A[t, s], what s adds to t: to a latent's pre-activation, or a logit less the mean logit.
        bias: [target] what biases and constants add; with it, a row sums to `values`.
        values: [target] the pre-activation or logit itself.
        active: how many latents were active; those that are not kept are in the errors of their layer and position.
        n_layers, n_pos: sizes of the error grid.
    """

    features: Features
    logits: Tensor
    probabilities: Tensor
    rows: Tensor
    bias: Tensor
    values: Tensor
    active: int
    n_layers: int
    n_pos: int

    def place(self, node: int) -> tuple[str, int, int]:
        """(kind, layer, position) of a node; tokens are of layer −1, logits of the layer after the last."""
        kept, grid = len(self.features), self.n_layers * self.n_pos
        if node < kept:
            return "feature", int(self.features.layer[node]), int(self.features.position[node])
        if node < kept + grid:
            return "error", *divmod(node - kept, self.n_pos)
        if node < kept + grid + self.n_pos:
            return "token", -1, node - kept - grid
        return "logit", self.n_layers, self.n_pos - 1

    @property
    def n_nodes(self) -> int:
        """All of them."""
        return self.rows.shape[1]

    @property
    def targets(self) -> Tensor:
        """[target] the node that each row is of."""
        kept, count = len(self.features), len(self.logits)
        return torch.cat([torch.arange(kept), torch.arange(self.n_nodes - count, self.n_nodes)])

    @property
    def weight(self) -> Tensor:
        """[node] probabilities at the logits, else 0."""
        weight = torch.zeros(self.n_nodes)
        weight[self.n_nodes - len(self.logits) :] = self.probabilities
        return weight

    def mask(self, kind: str) -> Tensor:
        """[node] bool, which nodes are a "feature", "error", "token" or "logit"."""
        sizes = {"feature": len(self.features), "error": self.n_layers * self.n_pos, "token": self.n_pos,
                 "logit": len(self.logits)}  # fmt: skip
        return torch.cat([torch.full((size,), name == kind) for name, size in sizes.items()])

    def unexplained(self) -> float:
        """Largest |row sum + bias − value| over the largest |value|: rounding, and nothing else."""
        gap = (self.rows.sum(dim=1, dtype=torch.float64) + self.bias - self.values).abs().max()
        return float(gap / self.values.abs().max().clamp_min(TINY))


def likely(logits: Tensor, mass: float, most: int) -> tuple[Tensor, Tensor]:
    """([logit] ids, [logit] probabilities): the smallest set of top tokens that holds `mass`, `most` at the most."""
    probabilities = logits.float().softmax(dim=-1)
    found = probabilities.topk(min(most, len(logits)))
    count = int((found.values.cumsum(0) < mass).sum()) + 1
    return found.indices[:count], found.values[:count]


def memory(active: int, kept: int, n_layers: int, n_pos: int, d_model: int) -> int:
    """Bytes that tracing holds at its highest, beyond the model: rows twice over, and gradients of a chunk."""
    columns = active + (n_layers + 1) * n_pos
    return 4 * (2 * (min(active, kept) + 10) * columns + 6 * CHUNK * n_pos * d_model + 3 * BLOCK * columns)


def attributed(
    local: LocalModel, logits: Tensor, probabilities: Tensor, *, most_features: int, progress: Progress = silent
) -> Graph:
    """All edges into the logits [logit] and into the latents with the most influence on them.

    Where more latents are active than `most_features`, they are chosen in rounds, those first that have most influence
    through what is chosen already; the others stay in the errors, so that rows still sum up.

    Raises InputError for fewer than one latent to keep.
    """
    if most_features < 1:
        raise InputError(f"most_features {most_features}: keep at least one")
    active = local.features
    back = Backward(local)
    count, kept = len(active), min(len(active), most_features)
    rows, bias = torch.zeros(kept + len(logits), back.columns), torch.zeros(kept + len(logits))
    rows[kept:], bias[kept:] = back.logits(logits)
    chosen: list[Tensor] = []
    while (done := sum(map(len, chosen))) < kept:
        step = kept if kept == count else min(kept - done, -(-kept // ROUNDS))
        at = torch.cat([torch.empty(0, dtype=torch.long), *chosen])
        found = _partial(rows, at, kept, active, probabilities)
        found[at] = -1
        new = found.topk(step).indices.sort().values if kept < count else torch.arange(count)
        for where, targets in _chunks(active, new):
            here = slice(done + where, done + where + len(targets))
            rows[here], bias[here] = back.features(int(active.layer[targets[0]]), targets)
            progress((done + where + len(targets)) / kept, f"edges into {here.stop:,} of {kept:,} latents")
        chosen.append(new)
    picked = torch.cat([torch.empty(0, dtype=torch.long), *chosen])
    return _assembled(local, picked, rows, bias, (logits, probabilities))


def _chunks(active: Features, new: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(place of the first, places) of latents of one layer, which are in order of position: few positions a chunk."""
    at = 0
    for group in new.split(torch.unique_consecutive(active.layer[new], return_counts=True)[1].tolist()):
        for part in group.split(CHUNK):
            yield at, part
            at += len(part)


def _partial(rows: Tensor, at: Tensor, kept: int, active: Features, weight: Tensor) -> Tensor:
    """[active] influence on the logits through the latents chosen so far, layer by layer from the top."""
    found = _passed(rows, torch.arange(kept, len(rows)), weight)
    layers = active.layer[at]
    for layer in layers.unique().flip(0):
        mine = (layers == layer).nonzero().flatten()
        found += _passed(rows, mine, found[at[mine]])
    return found[: len(active)].clone()


def _passed(rows: Tensor, which: Tensor, influence: Tensor) -> Tensor:
    sizes = rows[which].abs()
    return (influence / sizes.sum(dim=1).clamp_min(TINY)) @ sizes


def _assembled(
    local: LocalModel, picked: Tensor, rows: Tensor, bias: Tensor, logits: tuple[Tensor, Tensor]
) -> Graph:  # fmt: skip
    """Rows in the order of nodes; columns of latents that were not picked are added to their errors'."""
    active, n_pos = local.features, len(local.ids)
    order = picked.argsort()
    picked, targets = picked[order], torch.cat([order, torch.arange(len(picked), len(rows))])
    left = torch.ones(len(active), dtype=torch.bool)
    left[picked] = False
    kept, n_layers = active.at(picked), len(local.mlp_out)
    whole = torch.zeros(len(rows), len(picked) + (n_layers + 1) * n_pos + len(logits[0]))
    where = active.layer[left] * n_pos + active.position[left]
    for at in range(0, len(rows), BLOCK):
        block = rows[targets[at : at + BLOCK]]
        rest = block[:, len(active) :].index_add(1, where, block[:, : len(active)][:, left])
        whole[at : at + BLOCK, : len(picked)] = block[:, picked]
        whole[at : at + BLOCK, len(picked) : len(picked) + rest.shape[1]] = rest
    values = torch.cat([kept.value, local.logits[logits[0]] - local.logits.mean()])
    return Graph(kept, *logits, whole, bias[targets], values, len(active), n_layers, n_pos)
