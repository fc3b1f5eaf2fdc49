"""One pair of prompts: every node's true effect, and what each method says of it.

All scores say what corrupting the node does to the metric, a goodness: below 0 the node helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from einops import einsum
from torch import Tensor

from analyses._pairs import ids_of
from analyses._stats import Floats
from analyses.attribution_patching.estimates import exact
from analyses.circuit_agreement.flow import flow_shares
from hooks.attribution import attribute
from hooks.capture import run_with_cache
from hooks.metrics import Metric
from hooks.pairs import AlignedPair
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

MethodName = Literal["patching", "atp", "eap", "eap_ig", "edge_sizes", "dla", "flow"]
DrawnName = Literal[MethodName, "graph"]
TRUTH, GRAPH = "ablation", "graph"
WORDS = {
    TRUTH: "ablation",
    "patching": "patching",
    "atp": "AtP",
    "eap": "EAP",
    "eap_ig": "EAP-IG",
    "edge_sizes": "edge sizes",
    "dla": "DLA",
    "flow": "flow routes",
    GRAPH: "feature graph",
}
SIGNLESS = ("edge_sizes", "flow", GRAPH)
"""Methods that say how much a node matters, not which way."""
BY_EDGES = ("eap", "eap_ig", "edge_sizes")
"""Methods that are sums of edges' scores, computed for all pairs together."""


@dataclass(frozen=True)
class Nodes:
    """The nodes that are compared: of each layer its heads, then its MLP."""

    layers: tuple[int, ...]
    heads: int

    @property
    def frame(self) -> pd.DataFrame:
        """node, kind, layer, head (NULL for MLPs), in order of computation."""
        rows = [
            (f"L{layer}H{head}" if head < self.heads else f"MLP{layer}", layer, head)
            for layer in self.layers for head in range(self.heads + 1)
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=["node", "layer", "head"])
        kind = np.where(frame["head"] < self.heads, "head", "mlp")
        head = frame["head"].astype("Int64").mask(kind == "mlp")
        return pd.DataFrame({"node": frame["node"], "kind": kind, "layer": frame["layer"], "head": head})

    def joined(self, heads: Tensor, mlps: Tensor) -> Floats:
        """[node] from [layer head] and [layer]."""
        return np.asarray(torch.cat([heads, mlps[:, None]], dim=1).flatten().double().cpu().numpy())

    @property
    def keys(self) -> pd.DataFrame:
        """The same as cells of `estimates.exact`: site, layer, head, position."""
        frame = self.frame
        mlp = frame["kind"] == "mlp"
        return pd.DataFrame({
            "site": np.where(mlp, "mlp_out", "z"), "layer": frame["layer"],
            "head": frame["head"].fillna(-1).astype(int), "position": -1,
        })  # fmt: skip


def score(
    model: Model, pair: AlignedPair, metric: Metric, method: str, nodes: Nodes, threshold: float, progress: Progress
) -> Floats:
    """[node] what one method says of a pair; not for methods of `BY_EDGES`.

    ablation: the clean run with the node's output at all positions from the corrupted run. patching: the other way
    round, the corrupted run with the node alone from the clean one, its sign turned. atp, dla: see there.
    """
    clean, corrupted = ids_of(model, pair)
    if method == TRUTH:
        return exact(model, clean, corrupted, metric, nodes.keys, progress)
    if method == "patching":
        return -exact(model, corrupted, clean, metric, nodes.keys, progress)
    if method == "atp":
        return attribution(model, clean, corrupted, metric, nodes)
    if method == "dla":
        return direct(model, clean, corrupted, metric, nodes)
    return nodes.joined(*flow_shares(model, clean, nodes.layers, threshold))


def attribution(model: Model, clean: Tensor, corrupted: Tensor, metric: Metric, nodes: Nodes) -> Floats:
    """[node] attribution patching in the clean run: (corrupted − clean) · ∂m/∂output, summed over positions."""
    sites = [Site(layer, kind) for layer in nodes.layers for kind in ("z", "mlp_out")]
    found = attribute(model, clean, corrupted, sites, metric)
    heads = torch.stack([found.scores[Site(layer, "z")][0].sum(dim=0) for layer in nodes.layers])
    return nodes.joined(heads, torch.stack([found.scores[Site(layer, "mlp_out")][0].sum() for layer in nodes.layers]))


@torch.no_grad()
def direct(model: Model, clean: Tensor, corrupted: Tensor, metric: Metric, nodes: Nodes) -> Floats:
    """[node] direct logit attribution of the change: what the node writes more at the last position in the corrupted
    run, times the metric's slope there with the final norm's scale frozen at the clean run's."""
    sites = [Site(layer, kind) for layer in nodes.layers for kind in ("z", "mlp_out")]
    scale = Site(None, "ln_final_scale")
    near = run_with_cache(model, clean, [*sites, scale], last_only=True)
    far = run_with_cache(model, corrupted, sites, last_only=True)
    towards = direction(model, metric, near.logits[0, -1], near[scale][0, -1])
    change = {site: (far[site][0, -1] - near[site][0, -1]).double() for site in sites}
    heads = [
        einsum(change[Site(layer, "z")], model.W_O(layer).double(), towards, "head e, head e d, d -> head")
        for layer in nodes.layers
    ]
    mlps = [change[Site(layer, "mlp_out")] @ towards for layer in nodes.layers]
    return nodes.joined(torch.stack(heads), torch.stack(mlps))


def direction(model: Model, metric: Metric, logits: Tensor, scale: Tensor) -> Tensor:
    """[d_model] in fp64: x · direction is what x adds to the metric along its slope, the final norm's scale frozen.

    centre(x)/s ⊙ w · u = x · centre(w ⊙ u / s), u the unembedding's columns weighted by the metric's slope.
    """
    norm = model.norm(None)
    with torch.enable_grad():
        leaf = logits.detach().double().requires_grad_()
        (slope,) = torch.autograd.grad(metric(leaf[None]).sum(), leaf)
    reads = slope.nonzero().flatten()
    wanted = model.W_U[:, reads].float() @ slope[reads].float()
    return norm.centre(norm.weight.double() * wanted.double() / scale.double())


def by_nodes(scores: Floats, sources: Sequence[str], source: np.ndarray, names: Sequence[str]) -> Floats:
    """[node] sums of edges' scores [edge] over what leaves each node; `source` [edge] counts `sources`."""
    sums = np.bincount(source, weights=scores, minlength=len(sources))
    place = {name: number for number, name in enumerate(sources)}
    return np.asarray(sums[[place[name] for name in names]], dtype=np.float64)
