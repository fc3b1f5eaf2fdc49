"""Edge attribution: what corrupting each edge would do to a metric, for all edges at once (METHODS.md § 11).

    score(u → v) = Σ over positions and d_model of (z_u corrupted − z_u clean) · ∂m / ∂(the stream as v reads it)

an estimate of m with that edge corrupted minus m clean, so that with a goodness for m an edge that helps has a negative
score. Methods differ in where the gradient is taken:

    eap                  in the clean run (Syed et al. 2023)
    eap_ig_inputs        mean over runs between the two prompts' embeddings (Hanna et al. 2024)
    eap_ig_activations   for the edges of one layer's heads (or its MLP, or the embedding): mean over clean runs in
                         which these sources' outputs lie between clean and corrupted
    clean_corrupted      mean of the clean and the corrupted run

Gradients are summed over the runs first; then one product of the stored differences [batch pos source d_model] and the
gradients [batch pos input d_model] gives every edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from einops import einsum
from torch import Tensor

from hooks.attribution import Points, check_pair, path_points
from hooks.edges.graph import EdgeGraph
from hooks.edges.outputs import Outputs, Watch, entering, read_outputs, read_pairs, source_groups, written
from hooks.edges.reading import Rows
from hooks.edges.slopes import Slopes, add_runs, places_after, written_slopes
from hooks.errors import InputError, unknown
from hooks.progress import Progress, silent
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

Method = Literal["eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted"]
METHODS: tuple[Method, ...] = ("eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted")
MEMORY = 256 * 2**20
"""Bytes that differences and gradients written out together may fill; positions are taken in stretches to keep to it,
and sums of gradients beyond it are turned into scores before more runs are made."""
ROWS = 640
"""Token rows of the runs that share one forward and backward: of short prompts all points, of long ones few."""
BLOCKS = 6
_STREAM = Site(0, "resid_pre")


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """`scores` [batch edge], or [batch pos edge]; `clean` and `corrupted` [batch], the metric of the two runs."""

    scores: Tensor
    clean: Tensor
    corrupted: Tensor


def edge_scores(
    model: Model,
    graph: EdgeGraph,
    clean: Tensor,
    corrupted: Tensor,
    metric: Rows,
    method: str = "eap_ig_inputs",
    *,
    steps: int = 5,
    points: Points = "far_end",
    by_position: bool = False,
    progress: Progress = silent,
) -> EdgeScores:
    """Scores of all edges of `graph` for pairs of prompts of one length.

    Args:
        clean, corrupted: [batch pos] token ids.
        metric: [batch d_vocab] logits of the last position → [batch], a goodness; row i of pair i.
        method: one of METHODS. eap takes one backward, clean_corrupted two, eap_ig_inputs `steps`, eap_ig_activations
            `steps` × (2 × layers + 1).
        points: "far_end" as published, the corrupted end included; "midpoint" converges faster.
        by_position: keep the positions apart.

    Memory: MEMORY for differences and gradients (one position's at least), beside one forward's graph.

    Raises:
        InputError: prompts of different shapes, an unknown method, a metric without a gradient or the same for both
            prompts' runs however they are mixed (all gradients are nothing).
    """
    check_pair(clean, corrupted)
    if method not in METHODS:
        raise unknown("edge attribution method", method, METHODS)
    ways = {"eap": [0.0], "clean_corrupted": [0.0, 1.0]}.get(method, path_points(steps, points))
    job = _Job(model, graph, clean, metric, by_position)
    if method != "eap_ig_activations" and max(ways) == 1:
        # One of the runs with gradients is the corrupted run: its outputs are read there.
        job.near = read_outputs(model, graph, clean)
        job.way_of_embed = entering(model, corrupted) - job.near.embed
    else:
        job.near, job.far = read_pairs(model, graph, clean, corrupted)
        job.way_of_embed = job.far.embed - job.near.embed
    if method == "eap_ig_activations":
        _activations(job, ways, progress)
    else:
        _inputs(job, ways, progress)
    if not bool(job.total.any()):
        raise InputError(
            f"every edge scores exactly 0 with {method}: the metric has no slope where gradients are taken "
            "(divergence has none in the clean run: use eap_ig_inputs or clean_corrupted), or does not depend on "
            "the run"
        )
    near, far = (one.logits for one in (job.near, job.far) if one.logits is not None)
    return EdgeScores(graph.of_matrix(job.total), metric(near), metric(far))


class _Job:
    """What the methods share: the two runs, their difference, and the scores so far."""

    near: Outputs
    far: Outputs
    way_of_embed: Tensor

    def __init__(self, model: Model, graph: EdgeGraph, ids: Tensor, metric: Rows, apart: bool) -> None:
        self.model, self.graph, self.ids, self.metric, self.apart = model, graph, ids, metric, apart
        shape = (len(ids), *((ids.shape[1],) if apart else ()), len(graph.sources), len(graph.inputs))
        self.total = torch.zeros(shape, device=model.device)

    @cached_property
    def change(self) -> Outputs:
        """What corrupting adds to every output."""
        return self.far - self.near

    @property
    def together(self) -> int:
        """How many runs share a forward."""
        return max(1, ROWS // self.ids.numel())

    def add(self, slopes: Slopes, weight: float, sources: slice | None = None) -> None:
        """Turn summed gradients into scores of the edges of some sources (all), each run with a weight."""
        sources = slice(0, len(self.graph.sources)) if sources is None else sources
        batch, pos = self.ids.shape
        width = len(self.graph.sources) + len(self.graph.inputs)
        stretch = max(1, MEMORY // (4 * batch * width * self.graph.geometry.d_model))
        for first in range(0, pos, stretch):
            places = slice(first, first + stretch)
            change = written(self.model, self.graph, self.change, places)
            slope = written_slopes(self.model, slopes, places)
            for inputs in self._blocks():
                # Sources after all inputs of a block have no edge into them.
                last = min(self.graph.before(self.graph.inputs[inputs.stop - 1]), sources.stop)
                before = slice(sources.start, max(last, sources.start))
                self._product(change[:, :, before], slope[:, :, inputs], weight, (places, before, inputs))

    def _blocks(self) -> list[slice]:
        """The inputs cut into BLOCKS stretches, so that the products skip most of what is no edge."""
        total = len(self.graph.inputs)
        size = -(-total // BLOCKS)
        return [slice(first, min(first + size, total)) for first in range(0, total, size)]

    def _product(self, change: Tensor, slope: Tensor, weight: float, at: tuple[slice, slice, slice]) -> None:
        places, before, inputs = at
        if self.apart:
            form = "batch pos source d, batch pos input d -> batch pos source input"
            self.total[:, places, before, inputs] += weight * einsum(change, slope, form)
        else:
            form = "batch pos source d, batch pos input d -> batch source input"
            self.total[:, before, inputs] += weight * einsum(change, slope, form)


def _inputs(job: _Job, places: Sequence[float], progress: Progress) -> None:
    """Runs between the embeddings: how far from clean to corrupted, each with the same weight; the farthest first."""
    ways, together = sorted(places, reverse=True), job.together
    inputs = places_after(job.graph, 0)
    slopes = Slopes(job.graph)
    for first in range(0, len(ways), together):
        progress(first / len(ways), f"gradients {first + 1} of {len(ways)}")
        streams = [job.near.embed + way * job.way_of_embed for way in ways[first : first + together]]
        watch = Watch(job.model, job.graph, len(job.ids)) if first == 0 and ways[0] == 1 else None
        taps = [] if watch is None else watch.taps()
        logits = add_runs(job.model, slopes, job.ids, job.metric, _STREAM, streams, inputs, taps)
        if watch is not None:
            job.far = Outputs(streams[0], watch.heads, watch.mlps, logits[: len(job.ids)])
        if slopes.bytes > MEMORY:
            job.add(slopes, 1 / len(ways))
            slopes = Slopes(job.graph)
    if slopes.points:
        job.add(slopes, 1 / len(ways))


def _activations(job: _Job, ways: Sequence[float], progress: Progress) -> None:
    """One layer's heads, one MLP or the embedding at a time, its outputs between clean and corrupted."""
    groups = source_groups(job.graph, job.near, job.change)
    for number, (site, near, change, sources) in enumerate(groups):
        progress(number / len(groups), f"sources of {site.label}, {number + 1} of {len(groups)}")
        inputs = places_after(job.graph, sources.stop - 1)
        slopes = Slopes(job.graph)
        for first in range(0, len(ways), job.together):
            between = [near + way * change for way in ways[first : first + job.together]]
            add_runs(job.model, slopes, job.ids, job.metric, site, between, inputs)
        job.add(slopes, 1 / len(ways), sources)
