"""Losses of texts when only some neurons may speak, and the search for the CETT that costs what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analyses._activations import Text, activations
from analyses._stats import Floats
from analyses.activation_sparsity.thresholds import LEVELS, LayerFit
from hooks.losses import next_token_log_probs
from hooks.progress import Progress
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model

Rule = Callable[[Tensor], Tensor]
"""Values [1 pos neuron] → bool of the same shape: which neurons speak."""
SMALLEST_STEP = 1e-6


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses of texts: `totals` [text] in nats, `predicted` [text] tokens, `kept` [text layer] share of neurons."""

    totals: Floats
    predicted: Floats
    kept: Floats

    @property
    def loss(self) -> float:
        """Nats a predicted token over all texts."""
        return float(self.totals.sum() / self.predicted.sum())


def percent(change: float) -> float:
    """exp(`change` of the loss) − 1 in percent; infinite where that is beyond a float."""
    return 100 * math.expm1(change) if change < 700 else math.inf


def rise(sparse: Measured, dense: Measured) -> float:
    """By how many percent perplexity is above that of `dense`."""
    return percent(sparse.loss - dense.loss)


def measured(model: Model, texts: Sequence[Text], rules: Mapping[int, Rule], progress: Progress) -> Measured:
    """Losses of the texts with `rules` by layer in force; without a rule a layer is as it is."""
    totals, kept = [], np.ones((len(texts), len(rules)))
    for number, text in enumerate(texts):
        progress(number / len(texts), f"text {number + 1} of {len(texts)}")
        shares: dict[int, float] = {}
        taps = [partial(_tapped, model, layer, rule, shares) for layer, rule in rules.items()]
        with model.lock, hooked(taps):
            totals.append(float(-next_token_log_probs(model, text.ids)[0].double().sum()))
        kept[number] = [shares[layer] for layer in rules]
    return Measured(np.asarray(totals), np.asarray([text.total - 1.0 for text in texts]), kept)


def _tapped(model: Model, layer: int, rule: Rule, shares: dict[int, float]) -> Handle:
    def edit(values: Tensor) -> Tensor:
        keep = rule(values)
        shares[layer] = float(keep.double().mean())
        return values * keep

    return tap(model.module, model.anatomy, model.geometry, Site(layer, "mlp_post"), edit)


def above(threshold: float, row_norms: Tensor) -> Rule:
    """Neurons whose contribution is longer than `threshold`; `row_norms` [neuron] are those of W_out."""
    return lambda values: values.abs().float() * row_norms > threshold


def largest(count: int) -> Rule:
    """The `count` neurons of each token with the largest |value|."""

    def rule(values: Tensor) -> Tensor:
        places = values.abs().topk(count, dim=-1).indices
        return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, places, True)

    return rule


def at_random(count: int, generator: torch.Generator) -> Rule:
    """`count` neurons of each token, drawn anew for every token."""

    def rule(values: Tensor) -> Tensor:
        places = torch.rand(values.shape, generator=generator).topk(count, dim=-1).indices.to(values.device)
        return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, places, True)

    return rule


def fits(
    model: Model, texts: Sequence[Text], layers: Sequence[int], tokens: int, seed: int, progress: Progress
) -> dict[int, LayerFit]:
    """By layer what the thresholds are found on: `tokens` of the texts' tokens, drawn at random without replacement."""
    total = sum(text.total for text in texts)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(total, generator=generator)[: min(tokens, total)].sort().values
    sites, parts, start = [Site(layer, "mlp_post") for layer in layers], [], 0
    for number, text in enumerate(texts):
        progress(number / len(texts), f"neurons of text {number + 1} of {len(texts)}")
        here = chosen[(chosen >= start) & (chosen < start + text.total)] - start
        if len(here):
            found = activations(model, text.ids, sites)
            parts.append({site.layer: found[site][here] for site in sites})
        start += text.total
    return {layer: LayerFit(torch.cat([part[layer] for part in parts]), model.W_out(layer)) for layer in layers}


def rules_at(fitted: Mapping[int, LayerFit], allowed: float, device: torch.device, progress: Progress) -> dict[int, Rule]:  # fmt: skip  # noqa: E501
    """Every layer's rule for one shared CETT; 1 drops every neuron."""
    rules = {}
    for done, (layer, fit) in enumerate(fitted.items()):
        progress(done / len(fitted), f"threshold of layer {layer}")
        level = fit.level(allowed)
        # Pruned layers feed the later ones other values, which may exceed the largest that was seen.
        threshold = math.inf if level == LEVELS else float(fit.candidates[level])
        rules[layer] = above(threshold, fit.W_out.norm(dim=-1).to(device))
    return rules


@dataclass(frozen=True)
class Found:
    """Where the search ended: the CETT, the rise of perplexity there in percent, and whether that is the target."""

    allowed: float
    rise: float
    reached: bool


def search(
    rise_at: Callable[[float], float], known: Mapping[float, float], target: float, tolerance: float, most: int
) -> Found:
    """The CETT at which `rise_at` gives `target` within `tolerance`, by bisection between `known` levels.

    Where no CETT up to 1 costs as much as the target, that with everything dropped is told, as not reached; where the
    steps run out, the level tried that came nearest.
    """
    tried = {0.0: 0.0} | dict(known)
    if max(tried.values()) < target:
        tried[1.0] = rise_at(1.0)
    over = [level for level, cost in tried.items() if cost >= target]
    if not over:
        return Found(1.0, tried[1.0], abs(tried[1.0] - target) <= tolerance)
    high = min(over)
    low = max(level for level, cost in tried.items() if level < high and cost < target)
    for _ in range(most):
        best = min(tried, key=lambda level: abs(tried[level] - target))
        if abs(tried[best] - target) <= tolerance or high - low < SMALLEST_STEP:
            break
        middle = (low + high) / 2
        tried[middle] = rise_at(middle)
        low, high = (low, middle) if tried[middle] >= target else (middle, high)
    best = min(tried, key=lambda level: abs(tried[level] - target))
    return Found(best, tried[best], abs(tried[best] - target) <= tolerance)
