"""Every arm's continuations and their measures, the next token's target, and the cost on text held out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from analyses._answers import decoded
from analyses._common import steps
from analyses._contract import Context
from analyses.feature_steering.arms import Arm
from analyses.feature_steering.features import HELD_OUT, Latents
from analyses.feature_steering.words import target_tokens
from analyses.feature_steering.writing import distinct, plain_losses, write
from data.two_hop import matches
from hooks.losses import text_losses
from hooks.metrics import log_prob_of_any

if TYPE_CHECKING:
    from analyses.feature_steering import FeatureSteeringSpec
    from hooks.model import Model


def continued(
    model: Model, prompts: Sequence[Sequence[int]], arms: Sequence[Arm], found: Latents, spec: FeatureSteeringSpec,
    context: Context,
) -> pd.DataFrame:  # fmt: skip
    """A row a prompt, arm and sample; see `tables.VALUES`."""
    frames = []
    for number, inner in steps(context, range(len(prompts)), "prompt", first=0.05, last=0.8):
        compute = partial(_prompt, model, prompts[number], number, arms, found.words, spec, inner)
        frames.append(context.part(f"prompt {number}", compute))
    return pd.concat(frames, ignore_index=True)


def _prompt(
    model: Model, prompt: Sequence[int], number: int, arms: Sequence[Arm], words: Sequence[str],
    spec: FeatureSteeringSpec, context: Context,
) -> pd.DataFrame:  # fmt: skip
    metric, rows = log_prob_of_any(target_tokens(model, words)), []
    for place, arm in enumerate(arms):
        context.progress(place / len(arms), f"{arm.arm.replace('_', ' ')} at {arm.strength:g}")
        # One seed a prompt: arms that leave the probabilities alone write the same texts.
        seed = spec.draw_seed * 100_003 + number
        found = write(model, prompt, arm.edits, spec.samples, spec.new_tokens, spec.temperature, seed)
        losses, target = plain_losses(model, prompt, found.tokens), float(metric(found.logits[None])[0])
        for sample, tokens in enumerate(found.tokens):
            text = decoded(model, tokens)
            rows.append({
                "prompt": number, **arm.row(), "sample": sample, "continuation": text,
                "hit": float(matches(text, words, whole_words=bool(spec.target))), "loss": float(losses[sample]),
                "distinct": distinct(tokens), "target_log_prob": target,
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(draw=frame["draw"].astype("Int64"))


def costs(model: Model, arms: Sequence[Arm], spec: FeatureSteeringSpec, context: Context) -> pd.DataFrame:
    """A row an arm and held-out neutral text: nats a token, and what the edit adds."""
    texts = [model.encode(text)[: spec.held_tokens] for text in HELD_OUT[: spec.held_texts]]
    frames = []
    base = text_losses(model, texts)
    for arm, inner in steps(context, arms, "cost of arm", first=0.8, last=1.0):
        found = text_losses(model, texts, arm.edits, progress=inner.progress) if arm.edits else base
        lengths = found.predicted.double()
        frames.append(pd.DataFrame([arm.row()] * len(texts)).assign(
            text=range(len(texts)), loss=(found.totals / lengths).numpy(),
            added=((found.totals - base.totals) / lengths).numpy()))  # fmt: skip
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(draw=frame["draw"].astype("Int64"))
