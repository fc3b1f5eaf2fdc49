"""Clouds of equally many tokens: drawn from each text, and pooled over the texts of a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analyses._activations import Text, activations
from analyses._stats import Floats
from analyses.spectra.measures import MEASURES, gaussian, measures, prepared, shuffled, singular_values
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.spectra import SpectraSpec
    from hooks.model import Model

MODEL, SHUFFLED, GAUSSIAN = "model", "shuffled channels", "Gaussian"
DATA = (MODEL, SHUFFLED, GAUSSIAN)
ALL = "all texts"


@dataclass(frozen=True, eq=False)
class Clouds:
    """What was drawn and what it measures.

    Attributes:
        values: [text site data measure], data as DATA, measures as MEASURES.
        decay: [text site rank] share of the variance along each principal direction of the model's cloud, descending.
        vectors: by text, by site the drawn vectors [token d] in fp32; empty where nothing is pooled.
    """

    values: Floats
    decay: Floats
    vectors: list[dict[Site, Tensor]]


def chosen_tokens(texts: Sequence[Text], spec: SpectraSpec) -> tuple[int, list[Tensor]]:
    """How many tokens each text gives, the same for all, and which, [token] ascending.

    Each text has a generator of its own, so that a text more changes no other's draw.
    """
    count = spec.tokens or min(text.total for text in texts) - spec.skip
    found = []
    for text in texts:
        generator = torch.Generator().manual_seed(spec.draw_seed * 1_000_003 + text.number)
        order = torch.randperm(text.total - spec.skip, generator=generator)[:count]
        found.append(order.sort().values + spec.skip)
    return count, found


def measured(x: Tensor, spec: SpectraSpec) -> tuple[list[float], Tensor]:
    """All measures of a cloud [token d], in the order of MEASURES, and its singular values."""
    values = singular_values(prepared(x, centred=spec.centred, unit=spec.unit_norm))
    found = measures(values, len(x), x.shape[1], spec.epsilon)
    return [found[name] for name in MEASURES], values


def clouds(model: Model, texts: Sequence[Text], sites: Sequence[Site], spec: SpectraSpec, progress: Progress) -> Clouds:
    """Read every text. Raises InputError for values that are not finite."""
    _count, chosen = chosen_tokens(texts, spec)
    numbers, decays, kept = [], [], []
    for place, (text, at) in enumerate(zip(texts, chosen, strict=True)):
        progress(place / len(texts), f"text {place + 1} of {len(texts)}")
        generator = torch.Generator().manual_seed(spec.draw_seed * 1_000_003 + text.number)
        found = {site: values[at] for site, values in activations(model, text.ids, sites).items()}
        control: dict[int, list[float]] = {}
        rows, decay = [], []
        for x in found.values():
            # Gaussian data knows nothing of the layer: one draw a text and width serves them all.
            if x.shape[1] not in control:
                control[x.shape[1]] = measured(gaussian(len(x), x.shape[1], generator), spec)[0]
            plain, values = measured(x, spec)
            rows.append([plain, measured(shuffled(x, generator), spec)[0], control[x.shape[1]]])
            decay.append(_shares(values, len(x)))
        numbers.append(rows)
        decays.append(decay)
        kept.append(found if spec.pooled else {})
    return Clouds(np.asarray(numbers), np.asarray(decays), kept)


def _shares(values: Tensor, count: int) -> Floats:
    """[rank] shares of the variance; zeros to `count` where there are fewer channels than tokens."""
    powers = values.square()
    shares = np.zeros(count)
    total = float(powers.sum())
    shares[: len(powers)] = (powers / total).numpy() if total > 0 else 0.0
    return shares


def groups(texts: Sequence[Text]) -> dict[str, list[int]]:
    """Places of the texts by label, all of them first; only these where texts have no labels, or one."""
    labels = list(dict.fromkeys(text.label for text in texts))
    by_label = {label or "no label": [place for place, text in enumerate(texts) if text.label == label]
                for label in labels}  # fmt: skip
    return {ALL: list(range(len(texts)))} | (by_label if len(labels) > 1 else {})


def pooled(
    found: Clouds, texts: Sequence[Text], sites: Sequence[Site], spec: SpectraSpec, progress: Progress
) -> tuple[int, dict[str, Floats]]:
    """Tokens in a pooled cloud, equally many for each group, and by group [site data measure].

    A group gives the tokens of its first texts, as many texts as the smallest group has; of all texts together as many
    tokens are drawn at random, the same ones at every site.
    """
    members = groups(texts)
    least = min(len(places) for places in members.values())
    size = least * len(next(iter(found.vectors[0].values())))
    generator = torch.Generator().manual_seed(spec.draw_seed)
    # The same tokens at every site: a long vector that is drawn at one layer and not at the next would look like depth.
    every = len(texts) * (size // least)
    mixed = torch.randperm(every, generator=generator)[:size]
    numbers: dict[str, list[list[list[float]]]] = {name: [] for name in members}
    control: dict[int, list[float]] = {}
    for done, site in enumerate(sites):
        progress(done / len(sites), f"pooled, {site.label}")
        for name, places in members.items():
            chosen = places if name == ALL else places[:least]
            x = torch.cat([found.vectors[place][site] for place in chosen])
            x = x[mixed] if name == ALL else x
            if x.shape[1] not in control:
                control[x.shape[1]] = measured(gaussian(len(x), x.shape[1], generator), spec)[0]
            rows = [measured(x, spec)[0], measured(shuffled(x, generator), spec)[0], control[x.shape[1]]]
            numbers[name].append(rows)
    return size, {name: np.asarray(rows) for name, rows in numbers.items()}
