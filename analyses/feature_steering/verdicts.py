"""What came of each strength, in numbers and in words; a failure is said as plainly as a success."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analyses.feature_steering.arms import DIRECTION, LATENTS, RANDOM, UNSTEERED
from analyses.feature_steering.tables import (
    CHANGE,
    DISTINCT,
    HELD,
    LIKE_RANDOM,
    LOWERS,
    NO_EFFECT,
    OVER,
    OWN,
    RAISES,
    VERDICTS,
)


def verdicts_table(curve: pd.DataFrame) -> pd.DataFrame:
    """A row a strength: what editing the latents does, beside its controls and at what cost."""
    at = {(row["arm"], row["strength"], row["measure"]): row for _, row in curve[curve["arm"] != UNSTEERED].iterrows()}
    base = curve[curve["arm"] == UNSTEERED].set_index("measure")["mean"]
    rows = []
    for strength in sorted({strength for arm, strength, _ in at if arm == LATENTS}):
        own, chance = at[LATENTS, strength, CHANGE], at[RANDOM, strength, CHANGE]
        told = bool(own["low"] > 0 or own["high"] < 0)
        over = at[LATENTS, strength, OVER]
        beyond = bool(own["mean"] < chance["low"] or own["mean"] > chance["high"])
        # Random latents that never hit have no spread; few continuations may hide that they sometimes do.
        beyond = beyond and bool(over["low"] > 0 or over["high"] < 0)
        added = at[LATENTS, strength, OWN]["mean"] - base[OWN]
        told_row = {
            "strength": strength, "change": own["mean"], "low": own["low"], "high": own["high"], "told": told,
            "beyond_random": beyond, "outcome": _outcome(own["mean"], told, beyond), "random_change": chance["mean"],
            "direction_change": at[DIRECTION, strength, CHANGE]["mean"],
            "own_added": added, "own_perplexity": np.exp(added), "held_added": at[LATENTS, strength, HELD]["mean"],
            "held_perplexity": np.exp(at[LATENTS, strength, HELD]["mean"]),
            "random_held_perplexity": np.exp(at[RANDOM, strength, HELD]["mean"]),
            "distinct_change": at[LATENTS, strength, DISTINCT]["mean"] - base[DISTINCT],
        }  # fmt: skip
        rows.append(told_row | {"said": in_words(told_row)})
    return pd.DataFrame(rows)[[column.name for column in VERDICTS]]


def in_words(row: dict[str, Any]) -> str:
    """One sentence on a strength; what fails is said first."""
    moved = (f"{row['change']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] of continuations, random latents "
             f"{row['random_change']:+.2f}")  # fmt: skip
    cost = (f"perplexity × {row['held_perplexity']:.3g} on held-out text ({row['held_added']:+.2f} nats a token), "
            f"random latents × {row['random_held_perplexity']:.3g}; × {row['own_perplexity']:.3g} on its own text "
            f"({row['own_added']:+.2f})")  # fmt: skip
    first = {
        NO_EFFECT: "no effect told",
        LIKE_RANDOM: "moves the target no further than random latents do",
        RAISES: "raises the target beyond random latents",
        LOWERS: "lowers the target beyond random latents",
    }
    return f"{first[row['outcome']]}: {moved}; costs {cost}"


def _outcome(change: float, told: bool, beyond: bool) -> str:
    if not told:
        return NO_EFFECT
    if not beyond:
        return LIKE_RANDOM
    return RAISES if change > 0 else LOWERS
