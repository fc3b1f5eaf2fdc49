"""What the browser knows of every latent, as features that other tools read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from data.dictionary_files import Example, Explanation, Feature, Histogram

KINDS = {"resid": "res", "attn_out": "att", "hook_z": "att", "mlp": "mlp", "hook_post": "mlp"}
NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")
WRITTEN, TOKENS = "a person", "tokens of highest activation"


def features_of(frames: Mapping[str, pd.DataFrame]) -> list[Feature]:
    """One a latent: tokens that it moves, its histogram, its contexts, its labels (a person's before the automatic)."""
    effects = dict(iter(frames["effects"].groupby(["latent", "direction"])))
    contexts = dict(iter(frames["contexts"].groupby("latent")))
    bins = dict(iter(frames["activations"].groupby("latent")))
    # runs of older versions have no histogram of logits
    logits = dict(iter(frames["logits"].groupby("latent"))) if "logits" in frames else {}
    return [
        Feature(
            index=int(row["latent"]),
            largest=float(row["largest"]),
            frac_nonzero=float(row["density"]),
            promoted=_moved(effects[(row["latent"], "promoted")]),
            suppressed=_moved(effects[(row["latent"], "suppressed")]),
            activations=_histogram(bins.get(row["latent"])),
            logits=_histogram(logits.get(row["latent"])),
            examples=_examples(contexts.get(row["latent"])),
            explanations=_explanations(row),
        )
        for _, row in frames["latents"].iterrows()
    ]


def source_id(about: Mapping[Any, object]) -> str:
    """What a dictionary is called there: layer, kind of site and name, such as 6-res-mid."""
    site, name = str(about["reads"]).rpartition(".")[2], str(about["dictionary"]).removeprefix("dictionary ")
    kind = next((kind for part, kind in KINDS.items() if part in site), site.removeprefix("hook_"))
    kind = kind if about["reads"] == about["writes"] else "transcoder"
    return f"{about['layer']}-{kind}-{NOT_IN_NAMES.sub('-', name)}"


def _moved(rows: pd.DataFrame) -> tuple[tuple[str, float], ...]:
    return tuple((str(one), float(logit)) for one, logit in zip(rows["token"], rows["logit"], strict=True))


def _histogram(rows: pd.DataFrame | None) -> Histogram:
    if rows is None:
        return Histogram()
    middles = (rows["low"] + rows["high"]) / 2
    return Histogram(tuple(map(float, rows["count"])), tuple(map(float, middles)))


def _examples(rows: pd.DataFrame | None) -> tuple[Example, ...]:
    if rows is None:
        return ()
    return tuple(
        Example(tuple(json.loads(row["tokens"])), tuple(json.loads(row["activations"])), int(row["text"]))
        for _, row in rows.iterrows()
    )


def _explanations(row: pd.Series) -> tuple[Explanation, ...]:
    mine = [Explanation(row["written"], WRITTEN)] if row["written"] else []
    return (*mine, *([Explanation(row["automatic"], TOKENS)] if row["automatic"] else []))
