"""Edge attribution the TransformerLens way, as its users write it: the bridge's split inputs and per-head results.

Source outputs of both runs are kept by forward hooks; backward hooks at every input multiply its gradient with the
differences of all sources before it, as EAP is published. The scores are [source input] in our order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hooks.edges import EdgeGraph
from hooks.model import Model

Rows = Callable[[Tensor], Tensor]
_FORKS = ("set_use_split_qkv_input", "set_use_attn_result", "set_use_hook_mlp_in")


class EdgesByHooks:
    """A model's bridge with every fork of the residual stream hooked."""

    def __init__(self, model: Model, graph: EdgeGraph) -> None:
        self.bridge, self.graph = model.bridge, graph
        for name in _FORKS:
            getattr(self.bridge, name)(True)
        heads = graph.geometry.n_heads
        self.writers: dict[str, slice] = {"embed.hook_out": slice(0, 1)}
        for place, layer in enumerate(graph.layers):
            first = 1 + place * (heads + 1)
            self.writers[f"blocks.{layer}.attn.hook_result"] = slice(first, first + heads)
            self.writers[f"blocks.{layer}.mlp.hook_out"] = slice(first + heads, first + heads + 1)
        self.readers: dict[str, slice] = {"ln_final.hook_in": slice(len(graph.inputs) - 1, len(graph.inputs))}
        for layer in graph.layers:
            for kind, places in graph.places(layer).items():
                name = "hook_mlp_in" if kind == "mlp" else f"attn.hook_{kind}_input"
                self.readers[f"blocks.{layer}.{name}"] = places

    def close(self) -> None:
        """Give the bridge back as it was."""
        for name in _FORKS:
            getattr(self.bridge, name)(False)

    def scores(self, clean: Tensor, corrupted: Tensor, metric: Rows) -> Tensor:
        """[edge] EAP scores summed over the batch: (corrupted − clean) · gradient in the clean run."""
        graph, d_model = self.graph, self.graph.geometry.d_model
        difference = torch.zeros(*clean.shape, len(graph.sources), d_model)
        found = torch.zeros(len(graph.sources), len(graph.inputs))

        def keep(sign: float) -> Callable[..., None]:
            def hook(activation: Tensor, hook: Any) -> None:
                own = activation.detach()
                difference[:, :, self.writers[hook.name]] += sign * (own if own.ndim == 4 else own[:, :, None])

            return hook

        def multiply(gradient: Tensor, hook: Any) -> None:
            places = self.readers[hook.name]
            own = gradient if gradient.ndim == 4 else gradient[:, :, None]
            before = graph.before(graph.inputs[places.start])
            product = torch.einsum("bpsd,bpid->si", difference[:, :, :before], own)
            found[:before, places] += product

        with torch.no_grad():
            self.bridge.run_with_hooks(corrupted, fwd_hooks=[(name, keep(1.0)) for name in self.writers])
        forward = [(name, keep(-1.0)) for name in self.writers]
        backward = [(name, multiply) for name in self.readers]
        with torch.enable_grad(), self.bridge.hooks(fwd_hooks=forward, bwd_hooks=backward):
            logits = self.bridge(clean, return_type="logits")
            metric(logits[:, -1]).sum().backward()
        self.bridge.zero_grad()
        return graph.of_matrix(found)
