"""One run of activation sparsity: its texts, its thresholds, and the share of the work that is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from analyses._activations import Text
from analyses._contract import Context
from analyses.activation_sparsity.computing import (
    Found,
    Measured,
    at_random,
    fits,
    largest,
    measured,
    rise,
    rules_at,
    search,
)
from analyses.activation_sparsity.tables import RANDOM, TOP
from hooks.progress import Progress

if TYPE_CHECKING:
    from analyses.activation_sparsity import SparsitySpec
    from analyses.activation_sparsity.thresholds import LayerFit
    from hooks.model import Model

Halves = tuple[list[Text], list[Text]]
FITTING = 0.08
"""Share of a run that reading the neurons takes."""


@dataclass(eq=False)
class Study:
    """The model, its texts (those fitted on, those held out), each layer's fit, and how far the run is."""

    model: Model
    halves: Halves
    fitted: dict[int, LayerFit]
    context: Context
    done: float = FITTING

    @classmethod
    def begun(cls, model: Model, halves: Halves, layers: Sequence[int], spec: SparsitySpec, context: Context) -> Study:
        """Read the neurons of the texts to fit on. Raises InputError for values that are not finite."""

        def progress(fraction: float, label: str) -> None:
            context.progress(FITTING * fraction, label)

        return cls(model, halves, fits(model, halves[0], layers, spec.tokens, spec.draw_seed, progress), context)

    @property
    def tokens(self) -> int:
        """Tokens on which a layer's CETT is measured."""
        return len(next(iter(self.fitted.values())).values)

    def both(self, allowed: float, share: float) -> tuple[Measured, Measured]:
        """The fitted and the held-out texts at a CETT, which takes a `share` of the run."""
        rules = rules_at(self.fitted, allowed, self.model.device, self._part(share / 3, f"CETT {allowed:.4g}"))
        first, second = (
            measured(self.model, half, rules, self._part(share / 3, f"CETT {allowed:.4g}")) for half in self.halves
        )
        return first, second

    def searched(self, known: Mapping[float, float], dense: Measured, spec: SparsitySpec, share: float) -> Found:
        """The CETT that costs what is asked on the fitted texts; `known` holds rises by level, `dense` their loss."""
        tried: list[dict[str, float]] = []
        start, step = self.done, share / max(spec.most_steps, 1)

        def rise_at(allowed: float) -> float:
            words = f"step {len(tried) + 1}, CETT {allowed:.4g}"
            rules = rules_at(self.fitted, allowed, self.model.device, self._part(step / 2, words))
            cost = rise(measured(self.model, self.halves[0], rules, self._part(step / 2, words)), dense)
            tried.append({"step": len(tried) + 1, "rise of perplexity (%)": cost, "asked": spec.increase})
            self.context.show("search", pd.DataFrame(tried))
            return cost

        found = search(rise_at, known, spec.increase, spec.tolerance, spec.most_steps)
        self.done = max(self.done, start + share)
        return found

    def baselines(self, sparse: Measured, seed: int, share: float) -> dict[str, Measured]:
        """The held-out texts with as many neurons of each layer for every token as `sparse` has of them in the mean."""
        generator = torch.Generator().manual_seed(seed)
        ratios = zip(self.fitted, sparse.kept.mean(axis=0), strict=True)
        counts = {layer: round(float(ratio) * self.model.geometry.d_mlp) for layer, ratio in ratios}
        rules = {TOP: {layer: largest(count) for layer, count in counts.items()},
                 RANDOM: {layer: at_random(count, generator) for layer, count in counts.items()}}  # fmt: skip
        return {name: measured(self.model, self.halves[1], rule, self._part(share / 2, name))
                for name, rule in rules.items()}  # fmt: skip

    def _part(self, share: float, words: str) -> Progress:
        """Progress of the next `share` of the run; the whole stays below 1."""
        start = self.done
        self.done = end = min(start + share, 0.99)
        return lambda fraction, label: self.context.progress(start + (end - start) * fraction, f"{words}, {label}")
