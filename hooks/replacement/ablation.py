"""Ablating nodes of an attribution graph in the model itself, and what the graph says that will happen.

Three ways to run the model with a node's write taken away:

    held        patterns, norm scales and MLP outputs as recorded, but for linear skips: a target changes by −A[t, s]
    responding  patterns and norm scales as recorded; latents are encoded again, errors stay as recorded
    free        nothing held: the real model, real MLPs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from hooks.norms import Norm
from hooks.replacement.graph import Graph
from hooks.replacement.local import LocalModel
from hooks.replacement.transcoders import Features, joined
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

How = Literal["held", "responding", "free"]
BATCH = 16
"""Ablations run together."""


def predicted(graph: Graph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """([node target], [node target]) change of every target when a node is taken away: directly, and in all.

    Directly is −A. In all, latents on the way respond as long as they stay active: each passes on the change of its
    pre-activation, by its edges divided by its activation.
    """
    kept = len(graph.features)
    direct = -graph.rows[:, nodes].T
    total, step = direct.clone(), direct
    while bool(step.any()):
        step = (step[:, :kept] / graph.features.value) @ graph.rows[:, :kept].T
        total += step
    return direct, total


@torch.no_grad()
def measured(local: LocalModel, graph: Graph, nodes: Sequence[int], targets: Tensor, how: How) -> Tensor:
    """[node target] change of the rows `targets` of a graph when each of some nodes, but no logit, is taken away."""
    parts = []
    for at in range(0, len(nodes), BATCH):
        wrote = [written(local, graph, node) for node in nodes[at : at + BATCH]]
        # the first run of a batch is the one that nothing is taken from
        edits = {layer: torch.zeros(len(wrote) + 1, *local.mlp_out.shape[1:]) for one in wrote for layer, _ in one}
        for place, one in enumerate(wrote, 1):
            for (layer, position), vector in one.items():
                edits[layer][place, position] -= vector
        found = _Run(local, edits, len(wrote) + 1, how).values(graph, targets)
        parts.append(found[1:] - found[0])
    return torch.cat(parts)


def written(local: LocalModel, graph: Graph, node: int) -> dict[tuple[int, int], Tensor]:
    """By (layer, position) [d_model], what a node adds to MLP outputs; to the embeddings where the layer is −1.

    Raises ValueError for a logit.
    """
    kind, layer, position = graph.place(node)
    if kind == "feature":
        return _of(local, graph.features.at(torch.tensor([node])))
    if kind == "token":
        return {(layer, position): local.embed[position]}
    if kind != "error":
        raise ValueError("a logit writes nothing that could be taken away")
    found = {(layer, position): local.errors[layer, position].clone()}
    mine = [one.at((one.layer == layer) & (one.position == position)) for one in (local.features, graph.features)]
    # latents that the graph left out are in the error
    for place, vector in _of(local, mine[0].at(~torch.isin(mine[0].index, mine[1].index))).items():
        found[place] = found.get(place, 0) + vector
    return found


def _of(local: LocalModel, features: Features) -> dict[tuple[int, int], Tensor]:
    found: dict[tuple[int, int], Tensor] = {}
    for place in range(len(features)):
        layer, position = int(features.layer[place]), int(features.position[place])
        for target in local.transcoders.targets(layer):
            vector = local.transcoders.written(layer, target, features.index[place : place + 1])[0]
            found[target, position] = found.get((target, position), 0) + features.value[place] * vector
    return found


class _Run:
    """One forward of the model's own module over several edits of its MLP outputs, [run pos d_model] by layer.

    Layer −1 are the embeddings. The first run is the one without edits.
    """

    def __init__(self, local: LocalModel, edits: dict[int, Tensor], runs: int, how: How) -> None:
        self.local, self.edits, self.runs, self.how = local, edits, runs, how
        self.model: Model = local.model
        self.seen: dict[int, Tensor] = {}
        self.coded: list[Features] = []

    def values(self, graph: Graph, targets: Tensor) -> Tensor:
        """[run target] pre-activations of latents and logits, less the mean logit."""
        kept = len(graph.features)
        with self.model.lock, hooked(self._taps()):
            ids = self.local.ids[None].expand(self.runs, -1)
            logits = self.model.module(ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        found = torch.empty(self.runs, len(targets))
        for place, target in enumerate(targets.tolist()):
            if target >= kept:
                found[:, place] = logits[:, graph.logits[target - kept]] - logits.mean(dim=1)
                continue
            _, layer, position = graph.place(target)
            vector, offset = self.local.transcoders.readers(layer, graph.features.index[target : target + 1])
            found[:, place] = self._read(layer)[:, position] @ vector[0] + offset
        return found

    def _read(self, layer: int) -> Tensor:
        """[run pos d_model] what a layer's transcoder reads in this run."""
        x = self.seen[layer]
        if self.local.transcoders.kinds[layer] != "ln2_normalized":
            return x
        norm = self.model.norm(layer, "ln2")
        return norm.centre(x) / (norm.scale(x) if self.how == "free" else self.local.scales["ln2"][layer])

    def _taps(self) -> list[Callable[[], Handle]]:
        made: list[Callable[[], Handle]] = []
        if -1 in self.edits:
            made.append(self._tap(Site(None, "embed"), lambda output: output + self.edits[-1].to(output)))
        for layer in range(self.model.geometry.n_layers):
            block = self.model.module.get_submodule(f"{self.model.anatomy.blocks}.{layer}")
            if layer in self.local.transcoders.parts:
                made.append(self._reading(block.get_submodule(self.model.anatomy.ln2), layer))
            made.append(self._tap(Site(layer, "mlp_out"), partial(self._mlp, layer)))
            if self.how == "free":
                continue
            made.append(self._tap(Site(layer, "pattern"), partial(_as_recorded, self.local.patterns[layer])))
            for name, path in (("ln1", self.model.anatomy.ln1), ("ln2", self.model.anatomy.ln2)):
                made.append(_holding(block.get_submodule(path), self.local.scales[name][layer]))
        if self.how != "free":
            final = self.model.module.get_submodule(self.model.anatomy.final_norm)
            made.append(_holding(final, self.local.scales["ln_final"][0]))
        return made

    def _mlp(self, layer: int, output: Tensor) -> Tensor:
        """[run pos d_model] an MLP's output in this run."""
        if self.how != "free":
            output = self._answer(layer).to(output).expand_as(output)
        return output + self.edits[layer].to(output) if layer in self.edits else output

    def _answer(self, layer: int) -> Tensor:
        local, transcoders = self.local, self.local.transcoders
        if layer not in transcoders.parts:
            return local.mlp_out[layer]
        read = self._read(layer)
        if self.how == "held":
            skip = transcoders.skip(layer)
            return local.mlp_out[layer] if skip is None else local.mlp_out[layer] + self._skipped(read, skip)
        rows = read.flatten(0, 1)
        found = transcoders.encode({layer: rows})
        self.coded.append(found.at(found.position % read.shape[1] >= local.first))
        made = transcoders.output(layer, joined(self.coded), rows).view_as(read) + local.errors[layer]
        made[:, : local.first] = local.mlp_out[layer, : local.first]
        return made

    def _skipped(self, read: Tensor, skip: Tensor) -> Tensor:
        """[run pos d_model] by how much each run's linear skip differs from that of the run without edits."""
        moved = (read - read[:1]) @ skip.T
        moved[:, : self.local.first] = 0
        return moved

    def _reading(self, module: nn.Module, layer: int) -> Callable[[], Handle]:
        def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.seen[layer] = inputs[0].float().clone()

        return lambda: Handle(module.register_forward_pre_hook(keep).remove)

    def _tap(self, site: Site, edit: Callable[[Tensor], Tensor]) -> Callable[[], Handle]:
        return lambda: tap(self.model.module, self.model.anatomy, self.model.geometry, site, edit)


def _as_recorded(patterns: Tensor, output: Tensor) -> Tensor:
    """[run head dst src] recorded patterns [head dst src] in the model's dtype."""
    return patterns.to(output).expand_as(output)


def _holding(module: nn.Module, scale: Tensor) -> Callable[[], Handle]:
    """A norm whose scale [pos 1] is a recorded one; of the last positions where it is shown only these."""
    norm = Norm(module)

    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        made = norm.linear(inputs[0], scale[-inputs[0].shape[1] :])
        return (made if norm.bias is None else made + norm.bias).to(output.dtype)

    return lambda: Handle(module.register_forward_hook(hook).remove)
