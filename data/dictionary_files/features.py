"""A feature as it is told to others: plain Python, nothing but text and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hooks.errors import InputError


@dataclass(frozen=True)
class Source:
    """Whose features: Neuronpedia's id of a model, and of a dictionary at a layer, such as `6-res-name`."""

    model: str
    layer: str


@dataclass(frozen=True)
class Histogram:
    """Bars: how high each is, and the middle of its bin. Raises InputError where they are not equally many."""

    heights: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.heights) != len(self.values):
            raise InputError(f"a histogram has {len(self.heights)} heights and {len(self.values)} values")


@dataclass(frozen=True)
class Example:
    """A text in which a feature fires: tokens as text, the activation of each, and the number of the text."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    data_index: int | str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.values) or not self.tokens:
            raise InputError(f"an example has {len(self.tokens)} tokens and {len(self.values)} activations")


@dataclass(frozen=True)
class Explanation:
    """What somebody or some model says a feature is."""

    description: str
    type_name: str | None = None
    model: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        index: its number in the dictionary.
        largest: largest activation seen.
        frac_nonzero: share of tokens at which it fires, 0 to 1.
        promoted: (token, logit effect), the largest first.
        suppressed: (token, logit effect), the most negative first.
        activations: histogram of its activations where it fires.
        logits: histogram of its effects on all logits.
        examples: texts in which it fires.
        explanations: what it is called.
        more: further keys, as Neuronpedia names them.
    """

    index: int
    largest: float = 0.0
    frac_nonzero: float = 0.0
    promoted: tuple[tuple[str, float], ...] = ()
    suppressed: tuple[tuple[str, float], ...] = ()
    activations: Histogram = Histogram()
    logits: Histogram = Histogram()
    examples: tuple[Example, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
