"""The loss when channels are set to zero, or to their mean in the other texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Tensor

from analyses._activations import Kind, Text
from analyses.outlier_channels.choosing import Outliers, drawn, reading_norms, victims
from analyses.outlier_channels.reading import Reading
from hooks.interventions import Intervention
from hooks.losses import next_token_log_probs
from hooks.progress import Progress
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

OUTLIERS, VICTIMS, RANDOM = "outliers", "victims", "random"
ZERO, MEAN = "zero", "mean"
Tokens = Literal["all", "sinks", "others"]


@dataclass(frozen=True, eq=False)
class SetChannels(Intervention):
    """Give some `channels` of the site's last axis fixed `values` [channel]."""

    channels: tuple[int, ...]
    values: Tensor

    def change(self, selected: Tensor) -> Tensor:
        """The selection with those channels set."""
        changed = selected.clone()
        changed[..., list(self.channels)] = self.values.to(selected)
        return changed


def means_without(reading: Reading, text: int, layer: int, tokens: Tokens) -> Tensor:
    """[channel] mean x over those tokens of all texts but one; over all tokens where the others have none of these.

    `layer` counts within the reading.
    """
    others = [number for number in range(len(reading.tokens)) if number != text]
    total, on_sinks = reading.sums[others, layer, 0].sum(dim=0), reading.signed_on_sinks[others, layer].sum(dim=0)
    count, sinks = int(reading.tokens[others].sum()), sum(len(reading.sinks[number]) for number in others)
    if tokens == "sinks" and sinks:
        return on_sinks / sinks
    if tokens == "others" and count > sinks:
        return (total - on_sinks) / (count - sinks)
    return total / count


def arms(
    model: Model, layer: int, kind: Kind, chosen: Tensor, draws: int, generator: torch.Generator
) -> list[tuple[str, int, list[int]]]:
    """(arm, draw, channels) to set: the outliers, their victims, and as many random channels, `draws` times."""
    told = chosen.nonzero()[:, 0].tolist()
    found = [(OUTLIERS, 0, told), (VICTIMS, 0, victims(reading_norms(model, layer, kind), chosen))]
    return found + [(RANDOM, draw, drawn(chosen, len(told), generator)) for draw in range(draws)]


def positions(total: int, sinks: Sequence[int], tokens: Tokens) -> tuple[int, ...] | None:
    """The positions to act on; None means all."""
    if tokens == "all":
        return None
    return tuple(place for place in range(total) if (place in sinks) == (tokens == "sinks"))


def losses(
    model: Model, text: Text, place: int, reading: Reading, site: Site, index: int,
    channels: Sequence[tuple[str, int, list[int]]], tokens: Tokens, progress: Progress,
) -> pd.DataFrame:  # fmt: skip
    """Loss of one text for each arm and edit: arm, draw, edit, plain, edited (nats a token).

    `place` is the text's place in the reading, `index` that of the site's layer.
    """
    at = positions(text.total, reading.sinks[place], tokens)
    where, means = replace(site, position=at), means_without(reading, place, index, tokens)
    plain = _loss(model, text.ids, [])
    rows = []
    jobs = [(arm, edit) for arm in channels for edit in (ZERO, MEAN)]
    for done, ((arm, draw, some), edit) in enumerate(jobs):
        progress(done / len(jobs), f"{arm} set to {edit}")
        values = means[some] if edit == MEAN else torch.zeros(len(some))
        edits = [] if at == () or not some else [SetChannels(where, tuple(some), values)]
        edited = _loss(model, text.ids, edits) if edits else plain
        rows.append({"arm": arm, "draw": draw, "edit": edit, "channels": len(some), "plain": plain, "edited": edited})
    return pd.DataFrame(rows)


def _loss(model: Model, ids: Tensor, edits: Sequence[Intervention]) -> float:
    return float(-next_token_log_probs(model, ids, edits)[0].double().mean())


def ablated_layers(asked: Sequence[int], layers: Sequence[int], found: Outliers, share: Tensor) -> list[int]:
    """The layers asked for, or the one whose outliers carry the largest `share` [layer] of the squared norm.

    None where no channel is an outlier.
    """
    if asked:
        return list(asked)
    if not bool(found.chosen.any()):
        return []
    return [layers[int(torch.where(found.chosen.any(dim=-1), share, -1.0).argmax())]]


def outlier_share(reading: Reading, chosen: Tensor) -> Tensor:
    """[text layer] share of a token's squared norm on the outlier channels, mean over tokens."""
    return (reading.shares * chosen).sum(dim=-1) / reading.tokens[:, None]


Raw = Mapping[int, pd.DataFrame]
"""By layer, the rows of `losses` of all texts with a column `text`."""
