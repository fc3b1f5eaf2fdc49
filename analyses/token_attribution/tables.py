"""Token attribution's tables: scores, completeness, faithfulness against random rankings, agreement of methods."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from analyses._common import MARKED, TOKENS, Groups, interval
from analyses._contract import Column
from analyses._over_prompts import own_groups
from analyses._stats import discoveries, grouped_mean, grouped_rate, rank_correlation
from analyses.token_attribution.faithfulness import COMPREHENSIVENESS, SUFFICIENCY

METHODS = ("input_gradient", "integrated_gradients", "occlusion", "rollout", "attention_value", "reagent")
SIGNED = ("input_gradient", "integrated_gradients", "occlusion")
"""Methods whose scores are parts of the explained number, in its unit."""

RANDOM = "random"
MEASURES = (COMPREHENSIVENESS, SUFFICIENCY)


def tokens_table(scores: pd.DataFrame, tokens: pd.DataFrame) -> pd.DataFrame:
    """Every token's score by every method with its rank (1: the most important, the first of equals first)."""
    ranked = scores.assign(
        rank=scores.groupby(["prompt", "method"])["score"].rank(method="first", ascending=False).astype(int)
    )
    return ranked.merge(tokens, on=["prompt", "position"])[_names(SCORES)]


def completeness_table(scores: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """Sums of the signed methods' scores beside the difference that they are parts of."""
    sums = scores[scores["method"].isin(SIGNED)].groupby(["prompt", "method"], sort=False)["score"].sum()
    table = sums.rename("total").reset_index().merge(prompts, on="prompt")
    table["difference"] = table["value"] - table["baseline_value"]
    table["gap"] = table["total"] - table["difference"]
    return table[_names(COMPLETENESS)]


def faithfulness_table(curves: pd.DataFrame, groups: Groups | None = None) -> pd.DataFrame:
    """Area over the curve of every method, its mean over prompts, and what it is better than random rankings by.

    Of random rankings the draws of a prompt are averaged first. "Better" is turned so that more is better: higher
    comprehensiveness, lower sufficiency. Intervals and marks are over the clusters of prompts in `groups`.
    """
    areas = curves.groupby(["prompt", "method"], sort=False)[list(MEASURES)].mean()
    methods = list(dict.fromkeys(curves["method"]))
    own = own_groups(sorted(curves["prompt"].unique()), groups)
    rows = []
    for measure, method in product(MEASURES, methods):
        wide = areas[measure].unstack("method")
        mean = grouped_mean(wide[method].to_numpy(), own)
        better = (wide[method] - wide[RANDOM]).to_numpy() * (1 if measure == COMPREHENSIVENESS else -1)
        gain = grouped_mean(better, own)
        rows.append((measure, method, *map(float, mean), *map(float, gain), better))
    table = pd.DataFrame(rows, columns=["measure", "method", "mean", "low", "high", "better", "better_low",
                                        "better_high", "_each"])  # fmt: skip
    tried = table["method"] != RANDOM
    found = np.zeros(len(table), dtype=bool)
    found[tried] = discoveries(np.stack(list(table.loc[tried, "_each"]), axis=1), groups=own).found
    table.loc[~tried, ["better", "better_low", "better_high"]] = np.nan
    return table.assign(discovered=found, prompts=len(own), clusters=len(set(own)))[_names(FAITHFULNESS)]


def agreement_table(scores: pd.DataFrame, groups: Groups | None = None) -> pd.DataFrame:
    """Spearman's rank correlation of every two methods over a prompt's tokens, its mean over prompts.

    Prompts where one of the two gives all tokens the same score are left out of that pair; `prompts` counts the rest.
    """
    methods = list(dict.fromkeys(scores["method"]))
    wide = {prompt: part.pivot(index="position", columns="method", values="score")
            for prompt, part in scores.groupby("prompt")}  # fmt: skip
    rows = []
    for one, other in product(methods, methods):
        each = {prompt: float(rank_correlation(part[one].to_numpy(), part[other].to_numpy()).value)
                for prompt, part in wide.items()}  # fmt: skip
        defined = {prompt: value for prompt, value in each.items() if np.isfinite(value)}
        own = own_groups(list(defined), groups)
        mean = grouped_mean(np.asarray(list(defined.values())), own) if defined else (np.nan,) * 3
        rows.append((one, other, *map(float, mean), len(defined)))
    return pd.DataFrame(rows, columns=_names(AGREEMENT))


def spans_table(tokens: pd.DataFrame, spans: dict[int, tuple[int, ...]], groups: Groups | None = None) -> pd.DataFrame:
    """How often the first-ranked token lies in the span that was asked for, and how often a random one would."""
    first = tokens[(tokens["rank"] == 1) & tokens["prompt"].isin(spans)]
    if not len(first):
        return pd.DataFrame(columns=_names(SPANS))
    lengths = tokens.groupby("prompt")["position"].nunique()
    chance = float(np.mean([len(places) / lengths[prompt] for prompt, places in spans.items()]))
    rows = []
    for method, part in first.groupby("method", sort=False):
        hits = [float(place in spans[prompt]) for prompt, place in zip(part["prompt"], part["position"], strict=True)]
        rate = grouped_rate(np.asarray(hits), own_groups(list(part["prompt"]), groups))
        rows.append((method, *map(float, rate), chance, len(part)))
    return pd.DataFrame(rows, columns=_names(SPANS))


def _names(columns: tuple[Column, ...]) -> list[str]:
    return [column.name for column in columns]


_PROMPT = Column("prompt", "", "number of the prompt, from 0")
_METHOD = Column("method", "", "how tokens were scored")
PROMPTS = (
    _PROMPT,
    Column("text", "", "the prompt"),
    Column("tokens", "count", "its tokens"),
    Column("target", "", "the token whose likelihood is explained"),
    Column("target_id", "", "its id"),
    Column("probability", "probability", "the model's, after the whole prompt"),
    Column("rank", "count", "tokens that the model finds likelier; 0: the target is its answer"),
    Column("own", "", "whether the target is the model's own likeliest token, for want of a given answer"),
    Column("value", "nats or logits", "the explained number after the whole prompt"),
    Column("baseline_value", "nats or logits", "the same with the baseline's embedding in place of every token"),
    Column("reagent_runs", "count", "ReAGent's runs; missing where it was not asked for"),
    Column("reagent_converged", "count", "those that stopped by themselves; where none did, all are averaged"),
)
SCORES = (
    _PROMPT,
    *TOKENS,
    _METHOD,
    Column("score", "nats, logits or share", f"{', '.join(SIGNED)}: a part of the explained number; else a share of 1"),
    Column("rank", "count", "1: the most important of the prompt, by signed score"),
)
COMPLETENESS = (
    _PROMPT,
    _METHOD,
    Column("total", "nats or logits", "sum of the scores of the prompt's tokens"),
    Column("difference", "nats or logits", "the explained number minus what the baseline leaves of it"),
    Column("gap", "nats or logits", "total − difference; integrated gradients' goes to 0 as steps grow"),
)
CURVES = (
    _PROMPT,
    Column("method", "", f"how tokens were ranked; {RANDOM}: rankings that know nothing"),
    Column("draw", "", "which of the random rankings; 0 for a method"),
    Column("share", "fraction", "how much of the ranking's head is taken away, or kept alone"),
    Column("removed", "count", "tokens that this is: at least one, never all"),
    Column(COMPREHENSIVENESS, "probability", "lost without the ranking's head; high: it is needed"),
    Column(SUFFICIENCY, "probability", "lost with the ranking's head alone; low: it is enough"),
)
FAITHFULNESS = (
    Column("measure", "", "comprehensiveness or sufficiency, averaged over the shares (AOPC)"),
    Column("method", "", "how tokens were ranked"),
    *interval("probability"),
    Column("better", "probability", "than the random rankings of the same prompts; positive: more faithful"),
    Column("better_low", "probability", "lower end of its 95% interval over clusters, paired; missing for one"),
    Column("better_high", "probability", "upper end"),
    *MARKED,
)
AGREEMENT = (
    _METHOD,
    Column("other", "", "the method that it is compared with"),
    *interval("correlation", "mean over prompts of Spearman's correlation over tokens"),
    Column("prompts", "count", "prompts where both methods tell tokens apart"),
)
SPANS = (
    _METHOD,
    *interval("fraction", "prompts whose first-ranked token lies in the span (Wilson's interval)"),
    Column("chance", "fraction", "the same for a token drawn at random"),
    Column("prompts", "count", "prompts behind the row"),
)
