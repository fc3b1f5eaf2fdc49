"""The frames of feature steering: curves over the strength, verdicts, and everything behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses._common import LAYER
from analyses._contract import Column
from analyses._stats import (
    Estimate,
    grouped_mean,
    grouped_rate,
    matched_difference,
    mean_interval,
    rate_difference,
    rate_interval,
)
from analyses.feature_steering.arms import DIRECTION, LATENTS, RANDOM, UNSTEERED, Arm
from analyses.steering.tables import spread

SHARE, CHANGE, LOG_PROB, OWN, DISTINCT, HELD = "share", "share_change", "log_prob", "own_loss", "distinct", "held_out"
OVER = "over_random"
NO_EFFECT, LIKE_RANDOM, RAISES, LOWERS = "no effect told", "not beyond random", "raises it", "lowers it"
_ARM = (
    Column("arm", "", f"{LATENTS}: edited; {RANDOM}: as long a change of every token along others; {DIRECTION}: the "
           f"decoder direction added, as long in the mean; {UNSTEERED}: the model as it is"),
    Column("strength", "", "clamp: in typical activations; scale: factor; ablate: 0; NULL unsteered"),
)  # fmt: skip
_DRAW = Column("draw", "", "which random latents")
LATENT_COLUMNS = (
    Column("latent", "", "in the dictionary, from 0"), Column("site", "", "what it reads and writes"), LAYER,
    Column("density", "fraction", "reference tokens on which it fires"),
    Column("unit", "", "typical activation: its mean where it fires on the reference text"),
    Column("own", "", "whether it fired there at all; else the unit is the mean over all latents"),
    Column("norm", "", "length of its direction"),
    Column("promoted", "", "tokens that its direction by itself promotes most, read through the final norm"),
    Column("suppressed", "", "tokens that it suppresses most"),
)  # fmt: skip
CURVE = (
    *_ARM,
    Column("measure", "", f"{SHARE}: continuations with a target word; {CHANGE}: that minus unsteered; {OVER}: minus "
           f"that of random latents; {LOG_PROB}: change of log P(a target word begins right after the prompt), nats; "
           f"{OWN}: nats a token of the continuation by the model unsteered; {DISTINCT}: different pairs of tokens "
           f"over all pairs; {HELD}: nats a token added to held-out text, exp of which multiplies its perplexity"),
    Column("mean", "", "over continuations, prompts or texts; of random latents over draws"),
    Column("low", "", "lower end of its 95% interval; of random latents: of 95% of further draws"),
    Column("high", "", "upper end"), Column("count", "count", "continuations, prompts or held-out texts behind it"),
)  # fmt: skip
VERDICTS = (
    Column("strength", "", "as in curve"), Column("change", "fraction", "share of continuations with a target word, "
           "minus unsteered"),
    Column("low", "fraction", "lower end of its 95% interval"), Column("high", "fraction", "upper end"),
    Column("told", "", "the interval leaves out 0; each strength by itself"),
    Column("beyond_random", "", "outside where 95% of further random latents are expected, and told from those drawn"),
    Column("outcome", "", f"{NO_EFFECT}; {LIKE_RANDOM}; {RAISES}; {LOWERS}"),
    Column("random_change", "fraction", "the same by random latents, as far"),
    Column("direction_change", "fraction", "the same by adding the direction"),
    Column("own_added", "nats a token", "loss of its own text by the model unsteered, minus unsteered text's"),
    Column("own_perplexity", "", "factor on its own text's perplexity: exp(own_added)"),
    Column("held_added", "nats a token", "loss added to held-out text"),
    Column("held_perplexity", "", "factor on held-out text's perplexity: exp(held_added)"),
    Column("random_held_perplexity", "", "the same factor by random latents, as far"),
    Column("distinct_change", "fraction", "distinct pairs, minus unsteered"), Column("said", "", "in words"),
)  # fmt: skip
VALUES = (
    Column("prompt", "", "number of the prompt, from 0"), *_ARM, _DRAW, Column("sample", "", "which continuation"),
    Column("continuation", "", "what was written"), Column("hit", "", "whether a target word is in it"),
    Column("loss", "nats a token", "by the model unsteered"), Column("distinct", "fraction", "distinct pairs"),
    Column("target_log_prob", "nats", "log P(a target word begins right after the prompt), edited"),
)  # fmt: skip
COSTS = (*_ARM, _DRAW, Column("text", "", "number of the held-out text"), Column("loss", "nats a token", "edited"),
         Column("added", "nats a token", "by the edit"))  # fmt: skip
CONTROLS = (Column("draw", "", "which random latents"), Column("latents", "", "their numbers"))
PROMPTS = (Column("prompt", "", "number, from 0"), Column("text", "", "what was read"))
ABOUT = (
    Column("dictionary", "", "its name; empty for one made on the spot"), Column("site", "", "where"), LAYER,
    Column("d_sae", "count", "its latents"), Column("mode", "", "clamp, scale or ablate"),
    Column("words", "", "target words"), Column("how", "", "how latents and words were chosen"),
    Column("reference", "", "text on which activations were measured"), Column("prompts", "count", "prompts"),
    Column("samples", "count", "continuations of each"),
    Column("perplexity", "", "of held-out text without steering: exp(nats a token), each text counted once"),
)  # fmt: skip
COLUMNS = {
    "verdicts": VERDICTS, "curve": CURVE, "latents": LATENT_COLUMNS, "values": VALUES, "costs": COSTS,
    "controls": CONTROLS, "prompts": PROMPTS, "about": ABOUT,
}  # fmt: skip


def controls_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """The random latents of every draw."""
    found = {arm.draw: arm.of for arm in arms if arm.arm == RANDOM}
    return pd.DataFrame([{"draw": draw, "latents": of} for draw, of in found.items()])


def curve_table(values: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Means by arm and strength of every measure, with intervals over prompts (over samples for one prompt)."""
    base = values[values["arm"] == UNSTEERED].set_index(["prompt", "sample"])
    keys = pd.MultiIndex.from_frame(values[["prompt", "sample"]])
    every = values.assign(
        share_change=values["hit"] - base["hit"].loc[keys].to_numpy(), share=values["hit"], own_loss=values["loss"],
        log_prob=values["target_log_prob"] - base["target_log_prob"].loc[keys].to_numpy(),
        base=base["hit"].loc[keys].to_numpy(),
    )  # fmt: skip
    rows = []
    for (arm, strength), part in every.groupby(["arm", "strength"], sort=False, dropna=False):
        for measure in (SHARE, CHANGE, LOG_PROB, OWN, DISTINCT):
            rows.append(
                {"arm": arm, "strength": strength, "measure": measure, **_summary(part, measure, arm == RANDOM)}
            )
    for (arm, strength), part in costs.groupby(["arm", "strength"], sort=False, dropna=False):
        found = _drawn(part, "added") if arm == RANDOM else mean_interval(part["added"])
        rows.append({"arm": arm, "strength": strength, "measure": HELD, **_named(found, part["text"].nunique())})
    for strength, part in every[every["arm"].isin([LATENTS, RANDOM])].groupby("strength", sort=False):
        rows.append({"arm": LATENTS, "strength": strength, "measure": OVER, **_over_random(part)})
    return pd.DataFrame(rows)[[column.name for column in CURVE]]


def _over_random(part: pd.DataFrame) -> dict[str, Any]:
    """Hits of the latents minus those of random ones, continuation by continuation, in the mean over draws."""
    by = part.groupby(["arm", "prompt", "sample"])["hit"].mean()
    own, drawn = by[LATENTS], by[RANDOM].loc[by[LATENTS].index]
    groups = list(own.index.get_level_values("prompt"))
    several = groups if len(set(groups)) > 1 else None
    return _named(matched_difference(own * (1 - drawn), (1 - own) * drawn, groups=several), len(own))


def _summary(part: pd.DataFrame, measure: str, drawn: bool) -> dict[str, Any]:
    finite = part[np.isfinite(part[measure])]
    if measure == LOG_PROB:
        finite = finite.drop_duplicates(["prompt", "draw"])
    count = len(finite.drop_duplicates(["prompt", "sample"]))
    if not len(finite):
        return _named((np.nan, np.nan, np.nan), 0)
    groups, values = list(finite["prompt"]), finite[measure].to_numpy(dtype=np.float64)
    several = len(set(groups)) > 1
    if drawn:
        found = _drawn(finite, measure)
        # What cannot lie outside 0 to 1 is not expected there.
        found = Estimate(*np.clip(found, 0.0, 1.0)) if measure in (SHARE, DISTINCT) else found
    elif measure == SHARE:
        found = grouped_rate(values, groups) if several else rate_interval(values.sum(), len(values))
    elif measure == CHANGE:
        found = rate_difference(finite["hit"], finite["base"], groups=groups if several else None)
    else:
        found = grouped_mean(values, groups) if several else mean_interval(values)
    return _named(found, count)


def _drawn(part: pd.DataFrame, measure: str) -> Estimate:
    return spread(part.groupby("draw")[measure].mean().to_numpy(dtype=np.float64))


def _named(found: Sequence[Any], count: int) -> dict[str, Any]:
    return {"mean": float(found[0]), "low": float(found[1]), "high": float(found[2]), "count": count}
