"""Run a model with some edges cut: along these the input gets another output of the source than this run's own.

Input v reads x_v + Σ_u [edge u→v is cut] (r_u − z_u): x_v the stream of this very run, z_u what source u writes in it
(which follows from its own cut inputs), r_u the replacement: the corrupted prompt's output, a mean, or zero. With every
edge cut and the corrupted outputs, each input reads the corrupted prompt's stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from hooks.edges.graph import EdgeGraph
from hooks.edges.inputs import before_norm, projected
from hooks.edges.reading import Rows
from hooks.errors import InputError
from hooks.progress import Progress, silent
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

MEMORY = 192 * 2**20
"""Bytes that the stored differences of the rows in one forward may fill."""


@torch.no_grad()
def run_edges(model: Model, graph: EdgeGraph, ids: Tensor, kept: Tensor, replacement: Tensor) -> Tensor:
    """[row d_vocab] logits of the last position with every edge cut that is not kept; one forward.

    Args:
        ids: [row pos] or [1 pos] token ids, the prompt that runs.
        kept: [row edge] or [edge] bool, True where the edge carries this run's own output.
        replacement: [row pos source d_model] or [1 pos source d_model] (`outputs.written`).

    Memory: rows × positions × sources × d_model × 4 bytes for the differences, beside the forward itself.

    Raises:
        InputError: masks or replacements that do not fit the graph.
    """
    rows = max(len(ids), 1 if kept.ndim == 1 else len(kept))
    wanted = (ids.shape[1], len(graph.sources), graph.geometry.d_model)
    if kept.shape[-1] != graph.n_edges or tuple(replacement.shape[1:]) != wanted:
        raise InputError(
            f"a run with cut edges needs kept [row {graph.n_edges}] and a replacement "
            f"[row {' '.join(map(str, wanted))}]; got {list(kept.shape)} and {list(replacement.shape)}"
        )
    state = _Cut(model, graph, ~kept.bool().reshape(-1, graph.n_edges), replacement.float())
    with model.lock, hooked(state.taps()):
        whole = model.module(ids.expand(rows, -1).to(model.device), use_cache=False, logits_to_keep=1).logits
    return whole[:, -1]


def circuit_values(
    model: Model,
    graph: EdgeGraph,
    ids: Tensor,
    kept: Tensor,
    replacement: Tensor,
    metric: Rows,
    *,
    progress: Progress = silent,
) -> Tensor:
    """[circuit] the metric of one prompt under each of several circuits, as many in a forward as memory allows.

    Args:
        ids: [1 pos] token ids.
        kept: [circuit edge] bool.
        replacement: [1 pos source d_model].
        metric: [row d_vocab] → [row], the same for every row.
    """
    each = 4 * ids.shape[1] * len(graph.sources) * graph.geometry.d_model
    rows = max(1, min(MEMORY // each, 4096 // ids.shape[1]))
    found = []
    for first in range(0, len(kept), rows):
        progress(first / len(kept), f"circuit {first + 1} of {len(kept)}")
        found.append(metric(run_edges(model, graph, ids, kept[first : first + rows], replacement)))
    return torch.cat(found)


@dataclass
class _Cut:
    """One forward's state: the differences r − z so far, and the streams that the current layer's heads read."""

    model: Model
    graph: EdgeGraph
    cut: Tensor
    replacement: Tensor
    differences: Tensor | None = None
    streams: dict[str, Tensor] = field(default_factory=dict)
    matrix: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.matrix = self.graph.matrix(self.cut.float()).to(self.replacement.device)

    def taps(self) -> list[Callable[[], Handle]]:
        """Every hook of the run."""
        graph, heads = self.graph, self.graph.geometry.n_heads
        found = [self._tap(Site(0, "resid_pre"), self._begin)]
        for index, layer in enumerate(graph.layers):
            first, own = 1 + index * (heads + 1), graph.places(layer)
            if self._any(own["q"].start, own["v"].stop):
                found.append(before_norm(self.model, layer, "ln1", partial(self._read, own)))
                kinds = [kind for kind in ("q", "k", "v") if self._any(own[kind].start, own[kind].stop)]
                found += [self._tap(Site(layer, kind), partial(self._head_inputs, layer, kind)) for kind in kinds]
            found.append(self._tap(Site(layer, "z"), partial(self._write_heads, layer, first)))
            if self._any(own["mlp"].start, own["mlp"].stop):
                found.append(before_norm(self.model, layer, "ln2", partial(self._whole_input, own["mlp"])))
            found.append(self._tap(Site(layer, "mlp_out"), partial(self._write_mlp, first + heads)))
        last = slice(len(graph.inputs) - 1, len(graph.inputs))
        if self._any(last.start, last.stop):
            found.append(before_norm(self.model, None, "", partial(self._whole_input, last)))
        return found

    def _tap(self, site: Site, edit: Callable[[Tensor], Tensor | None]) -> Callable[[], Handle]:
        return lambda: tap(self.model.module, self.model.anatomy, self.model.geometry, site, edit)

    def _any(self, first: int, last: int) -> bool:
        return bool(self.matrix[:, :, first:last].any())

    def _begin(self, stream: Tensor) -> None:
        shape = (len(stream), len(self.graph.sources), *stream.shape[1:])
        self.differences = torch.empty(shape, device=stream.device)
        self._write(0, stream.float())

    def _write(self, place: int, output: Tensor) -> None:
        """Put a source's output [row pos d_model] behind the replacement."""
        assert self.differences is not None
        torch.sub(self.replacement[:, :, place], output, out=self.differences[:, place])

    def _read(self, own: dict[str, slice], stream: Tensor) -> None:
        """What queries, keys and values of a layer read, in one product."""
        changed = stream.float()[:, :, None] + self._change(slice(own["q"].start, own["v"].stop))
        sizes = [own[kind].stop - own[kind].start for kind in ("q", "k", "v")]
        self.streams = dict(zip(("q", "k", "v"), changed.split(sizes, dim=2), strict=True))

    def _change(self, places: slice) -> Tensor:
        """[row pos input d_model]: what the cut edges change at some inputs."""
        assert self.differences is not None
        before = self.graph.before(self.graph.inputs[places.start])
        cut = self.matrix[:, :before, places].expand(len(self.differences), -1, -1)
        # Sources stand before positions here, so that this is one product a row without a copy.
        seen = self.differences[:, :before].flatten(2)
        change = torch.bmm(cut.transpose(1, 2), seen)
        return rearrange(change, "row input (pos d) -> row pos input d", pos=self.differences.shape[2])

    def _head_inputs(self, layer: int, kind: str, _activation: Tensor) -> Tensor:
        return projected(self.model, layer, kind, self.streams[kind])

    def _whole_input(self, places: slice, stream: Tensor) -> Tensor:
        return (stream.float() + self._change(places)[:, :, 0]).to(stream.dtype)

    def _write_heads(self, layer: int, first: int, z: Tensor) -> None:
        weights = self.model.W_O(layer).float()
        for head in range(z.shape[2]):
            self._write(first + head, z[:, :, head].float() @ weights[head])

    def _write_mlp(self, place: int, output: Tensor) -> None:
        self._write(place, output.float())
