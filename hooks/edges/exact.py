"""Exact edge patching: each edge cut by itself, everything after it computed again.

`exact_by_definition` is the definition, a forward with one edge cut each. `exact_scores` gives the same numbers: only
one input changes, so its query, key, value or MLP output is computed for all its sources at once, and the sweep engine
goes on from that layer with many edges in a forward; edges into the logits need no forward at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.edges.graph import EdgeGraph, Input
from hooks.edges.inputs import normalised, projected_one
from hooks.edges.outputs import read_outputs, written
from hooks.edges.running import circuit_values
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.metrics import Metric
from hooks.progress import Progress, silent
from hooks.sites import Site
from hooks.sweep import Cell, run_sweep

if TYPE_CHECKING:
    from hooks.model import Model

_TOGETHER = 64
"""MLP inputs computed in one product."""


def exact_by_definition(
    model: Model, graph: EdgeGraph, clean: Tensor, corrupted: Tensor, metric: Metric, progress: Progress = silent
) -> Tensor:
    """[edge] change of the metric with that edge alone cut; `clean` and `corrupted` are [1 pos]."""
    replaced = written(model, graph, read_outputs(model, graph, corrupted))
    alone = ~torch.eye(graph.n_edges, dtype=torch.bool)
    whole = torch.ones(1, graph.n_edges, dtype=torch.bool)
    values = circuit_values(model, graph, clean, torch.cat([whole, alone]), replaced, metric, progress=progress)
    return values[1:] - values[0]


def exact_scores(
    model: Model, graph: EdgeGraph, clean: Tensor, corrupted: Tensor, metric: Metric, progress: Progress = silent
) -> Tensor:
    """[edge] change of the metric with that edge alone cut, as `exact_by_definition`, but fast.

    Args:
        clean, corrupted: [1 pos] token ids.
        metric: a goodness; gets the last position's logits.

    Memory: one layer's edges at a time, [edge pos d_head] and [source pos d_model].
    """
    if len(clean) != 1 or clean.shape != corrupted.shape:
        raise InputError(
            f"edge patching takes one pair of prompts of one length; got shapes {list(clean.shape)} and "
            f"{list(corrupted.shape)}"
        )
    job = _Job(model, graph, clean, corrupted)
    found = torch.zeros(len(graph.sources), len(graph.inputs))
    found[:, -1] = job.into_logits(metric)
    for index, layer in enumerate(graph.layers):
        progress(index / len(graph.layers), f"edges into layer {layer}")
        cells = job.into_layer(layer)
        values = run_sweep(model, clean, [*cells, Cell({}, ())], (metric,)).values[:, 0]
        for cell, value in zip(cells, values[:-1] - values[-1], strict=True):
            found[int(cell.coords["source"]), int(cell.coords["input"])] = value
    return graph.of_matrix(found)


class _Job:
    """One pair's two runs: what each input reads in the clean one, and how far apart the sources' outputs are."""

    def __init__(self, model: Model, graph: EdgeGraph, clean: Tensor, corrupted: Tensor) -> None:
        self.model, self.graph = model, graph
        near, far = (read_outputs(model, graph, ids) for ids in (clean, corrupted))
        self.change = far - near
        differs = (clean != corrupted)[0].nonzero().flatten().tolist()
        # Before the first token that differs nothing does.
        self.positions = tuple(range(differs[0] if differs else 0, clean.shape[1]))
        self.places = slice(self.positions[0], None)
        self.middle = "resid_pre" if graph.geometry.parallel_blocks else "resid_mid"
        sites = [Site(layer, kind) for layer in graph.layers for kind in dict.fromkeys(("resid_pre", self.middle))]
        self.final = Site(model.geometry.n_layers - 1, "resid_post")
        self.run = run_with_cache(model, clean, [*sites, self.final], last_only=True)

    def into_logits(self, metric: Metric) -> Tensor:
        """[source] the metric's change with each source's edge into the logits cut."""
        moved = written(self.model, self.graph, self.change, slice(-1, None))[0, 0]
        stream = self.run[self.final][0, -1:].float()
        states = self.model.final_norm(torch.cat([stream, stream + moved]).to(self.model.dtype))
        logits = states @ self.model.W_U
        values = metric(logits if self.model.b_U is None else logits + self.model.b_U)
        return (values[1:] - values[0]).cpu()

    def into_layer(self, layer: int) -> list[Cell]:
        """One cell an edge into a layer's inputs: the query, key, value or MLP output that its cut leads to."""
        inputs = [(number, one) for number, one in enumerate(self.graph.inputs) if one.layer == layer]
        most = max(self.graph.before(one) for _, one in inputs)
        moved = written(self.model, self.graph, self.change, self.places)[0, :, :most].transpose(0, 1)
        cells = []
        for number, one in inputs:
            values = self._values(one, moved[: self.graph.before(one)])
            site = Site(layer, "mlp_out" if one.kind == "mlp" else one.kind, one.head, self.positions)
            cells += [
                Cell({"source": source, "input": number}, (Patch(site, value[None]),))
                for source, value in enumerate(values)
            ]
        return cells

    @torch.no_grad()
    def _values(self, one: Input, moved: Tensor) -> Tensor:
        """[source pos …]: what an input leads to when its stream changes by `moved` [source pos d_model]."""
        assert one.layer is not None
        before = self.run[Site(one.layer, self.middle if one.kind == "mlp" else "resid_pre")]
        streams = before[0, self.places].float() + moved
        if one.kind != "mlp":
            assert one.head is not None
            return projected_one(self.model, one.layer, one.kind, one.head, streams)
        anatomy = self.model.anatomy
        mlp = self.model.module.get_submodule(f"{anatomy.blocks}.{one.layer}.{anatomy.mlp}")
        seen = normalised(self.model.norm(one.layer, "ln2"), streams).to(self.model.dtype)
        with self.model.lock:
            return torch.cat([mlp(part) for part in seen.contiguous().split(_TOGETHER)])
