"""The frames behind the card of one latent, of all latents at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses._contract import Frames
from analyses._dictionaries.corpus import Corpus
from analyses._dictionaries.firing import Firing
from analyses._dictionaries.harvest import harvest
from analyses.feature_browser.contexts import Texts, bins_of, chosen_rows, together
from analyses.feature_browser.effects import effects
from analyses.feature_browser.neighbours import nearest_few
from analyses.feature_browser.tables import table
from hooks.dictionaries import Placed

if TYPE_CHECKING:
    from hooks.model import Model

BINS, REACH = 16, 10


def effects_of(model: Model, placed: Placed, k: int, every: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tokens that each latent moves, and the histogram of what it does to all logits."""
    found = effects(model, placed, k, BINS)
    parts = []
    for direction, ids, logits in (("promoted", found.promoted, found.promoted_logits),
                                   ("suppressed", found.suppressed, found.suppressed_logits)):  # fmt: skip
        count, most = ids.shape
        flat = ids.flatten().tolist()
        parts.append(pd.DataFrame({
            "latent": np.repeat(np.arange(count), most), "direction": direction,
            "rank": np.tile(np.arange(most), count),
            "token": [every[one] for one in flat], "token_id": flat, "logit": logits.flatten().double().numpy(),
        }))  # fmt: skip
    told = pd.concat(parts, ignore_index=True).astype({"direction": "object", "token": "object"})
    low, high = (one[:, :1].double().numpy() for one in (found.suppressed_logits, found.promoted_logits))
    edges = low + (high - low) * np.linspace(0, 1, BINS + 1)
    bins = pd.DataFrame({
        "latent": np.repeat(np.arange(len(edges)), BINS), "low": edges[:, :-1].flatten(),
        "high": edges[:, 1:].flatten(), "count": found.counts.flatten().numpy(),
    })  # fmt: skip
    return told, bins


def first_effects(frames: Frames) -> None:
    """Put each latent's most promoted and suppressed token into its row."""
    first = frames["effects"][frames["effects"]["rank"] == 0]
    for direction in ("promoted", "suppressed"):
        mine = first[first["direction"] == direction].set_index("latent")
        frames["latents"][direction] = mine["token"].to_numpy()
        frames["latents"][f"{direction}_logit"] = mine["logit"].to_numpy()


def contexts_of(fires: Firing, texts: Texts, most: int) -> pd.DataFrame:
    """Chosen contexts of each latent."""
    rows = []
    for latent in range(fires.latents):
        at, values = fires.of(latent)
        for band, rank, row in chosen_rows(at, values, texts, most, REACH) if len(at) else ():
            told = texts.context(row, at, values, REACH)
            activation = float(values[np.searchsorted(at, row)])
            rows.append({"latent": latent, "band": band, "rank": rank, "activation": activation, **told})
    return table("contexts", rows)


def activations_of(fires: Firing) -> pd.DataFrame:
    """A histogram a latent."""
    rows = []
    for latent in range(fires.latents):
        _, values = fires.of(latent)
        if len(values):
            edges, counts = bins_of(values, BINS)
            rows += [{"latent": latent, "low": low, "high": high, "count": count}
                     for low, high, count in zip(edges, edges[1:], counts, strict=False)]  # fmt: skip
    return table("activations", rows)


def neighbours_of(fires: Firing, placed: Placed, most: int) -> pd.DataFrame:
    """Latents near each one, by direction and by being active together."""
    parts = []
    for kind, (others, values) in (("direction", nearest_few(placed.dictionary.directions, most)),
                                   ("together", together(fires, most))):  # fmt: skip
        count, few = others.shape
        parts.append(pd.DataFrame({
            "latent": np.repeat(np.arange(count), few), "kind": kind, "rank": np.tile(np.arange(few), count),
            "other": others.flatten(), "value": values.flatten().astype(np.float64),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"kind": "object"})


def own_of(model: Model, placed: Placed, ids: list[int]) -> pd.DataFrame:
    """Where latents are active in the run's own text."""
    if len(ids) < 2:
        return table("own", [])
    read = harvest(model, Corpus((tuple(ids),), "own"), [placed.reads], lambda *_: None)
    codes = placed.dictionary.encode(read.values[placed.reads])
    at = read.position[codes.rows()].tolist()
    return table("own", [
        {"position": place, "latent": latent, "activation": value}
        for place, latent, value in zip(at, codes.index.tolist(), codes.value.tolist(), strict=True)
    ])  # fmt: skip
