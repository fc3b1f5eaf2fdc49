"""Feature steering: what does a model write while latents of a dictionary are clamped, scaled or ablated?

A latent that fires on some meaning need not be what makes the model speak of it. Latents are edited on every token of a
prompt and of what follows; many continuations are drawn, and target words are counted. Beside that stand random latents
along which every token moves exactly as far, the latents' decoder direction added as far in the mean, and the cost: how
likely the text is without steering, how much it repeats itself, and what the edit adds to the loss of other text.

Sources: Templeton et al. 2024 (clamping features), Bricken et al. 2023 (ablation), Durmus et al. 2024 (costs of feature
steering), O'Brien et al. 2024 (clamping hurts elsewhere), Wu et al. 2025, AxBench (beside plain directions).

Ours: what the dictionary does not reconstruct is kept, so that a latent held at its own value changes nothing. Strength
1 of a clamp is the latent's mean activation where it fires on the reference text. The first token is left alone. Arms
share their random numbers, so differences are paired. A verdict says of each strength whether the change is told from
none and goes beyond random latents, and says so where it does not. Without a kept dictionary a small one is made on the
spot, from six neutral texts, to try the page. Targets are counted as whole words, whatever is said about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec, an_artifact
from analyses._dictionaries.corpus import KIND as TEXT
from analyses._dictionaries.kept import KIND as DICTIONARY
from analyses.feature_steering.arms import UNSTEERED, arms_of
from analyses.feature_steering.features import (
    HELD_OUT,
    Latents,
    check_latents,
    dictionary_of,
    latents_of,
    latents_table,
)
from analyses.feature_steering.figures import NAMES, figures
from analyses.feature_steering.measuring import continued, costs
from analyses.feature_steering.tables import COLUMNS, controls_table, curve_table
from analyses.feature_steering.verdicts import verdicts_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class FeatureSteeringSpec(Spec):
    """Options of feature steering."""

    dictionary: str | None = an_artifact(
        DICTIONARY, "a kept autoencoder; none given makes a small one on the spot, to try the page"
    )
    layer: int | None = Field(None, ge=0, description="layer of the dictionary; none means its first, or the middle")
    latents: tuple[int, ...] = Field(
        (), description="latents to steer, together; none given means the one that promotes the target most"
    )
    mode: Literal["clamp", "scale", "ablate"] = Field("clamp", description="what is done to their activations")
    strengths: tuple[float, ...] = Field(
        (0.0, 2.0, 5.0, 10.0),
        min_length=1,
        description="clamp: in typical activations (0 ablates); scale: factors (0 ablates, 1 changes nothing)",
    )
    target: tuple[str, ...] = Field(
        (), description="words to look for in the text; none given means those that the latents promote most"
    )
    samples: int = Field(12, ge=1, le=256, description="continuations of each prompt, at every strength")
    new_tokens: int = Field(24, ge=2, le=512, description="tokens of a continuation")
    temperature: float = Field(0.8, gt=0, le=5, description="of the draws")
    prompt_tokens: int = Field(24, ge=2, le=8192, description="tokens of a text that are read as a prompt")
    random_draws: int = Field(3, ge=2, le=50, description="draws of random latents, at every strength")
    held_texts: int = Field(4, ge=2, le=len(HELD_OUT), description="neutral texts that the cost is measured on")
    held_tokens: int = Field(48, ge=2, le=60, description="tokens of each that are read")
    text: str | None = an_artifact(
        TEXT, "a kept text on which typical activations are measured; none given means six neutral texts"
    )
    reference_tokens: int = Field(8000, ge=16, le=1_000_000, description="tokens of it that are read")
    draw_seed: int = Field(0, ge=0, description="seed of the continuations and the random latents")


def run(model: Model, inputs: Inputs, spec: FeatureSteeringSpec, context: Context) -> Frames:
    """Choose, edit, write and measure; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: as `check` does; a transcoder, a dictionary of another model, a latent that is not there, too few
            living latents for the control, logits that are not finite.
    """
    check(model, inputs, spec)
    kept = dictionary_of(model, spec, context)
    if kept is not None:
        check_latents(spec.latents, kept.dictionary)
    found = latents_of(model, spec, kept, context)
    arms = arms_of(found, spec)
    prompts = prompts_of(model, inputs, spec)
    values = continued(model, prompts, arms, found, spec, context)
    cost = costs(model, arms, spec, context)
    curve = curve_table(values, cost)
    read = ["".join(model.str_tokens(one)) for one in prompts]
    frames = {
        "verdicts": verdicts_table(curve), "curve": curve,
        "latents": latents_table(model, found, [column.name for column in COLUMNS["latents"]]),
        "values": values, "costs": cost, "controls": controls_table(arms),
        "prompts": pd.DataFrame({"prompt": range(len(read)), "text": read}),
        "about": _about(found, spec, len(prompts), cost),
    }  # fmt: skip
    return {name: frame[[column.name for column in COLUMNS[name]]] for name, frame in frames.items()}


def _about(found: Latents, spec: FeatureSteeringSpec, prompts: int, cost: pd.DataFrame) -> pd.DataFrame:
    plain = cost.loc[cost["arm"] == UNSTEERED, "loss"].mean()
    return pd.DataFrame([{
        "dictionary": spec.dictionary or "", "site": found.placed.reads.kind, "layer": found.placed.reads.layer,
        "d_sae": found.placed.dictionary.d_sae, "mode": spec.mode, "words": ", ".join(found.words), "how": found.how,
        "reference": found.source, "prompts": prompts, "samples": spec.samples,
        "perplexity": float(np.exp(plain)),
    }])  # fmt: skip


def prompts_of(model: Model, inputs: Inputs, spec: FeatureSteeringSpec) -> list[list[int]]:
    """Token ids of the prompt, or of the beginnings of texts. Raises InputError for one of fewer than two tokens."""
    given = [inputs.prompt] if inputs.prompt is not None else list(inputs.texts)
    found = []
    for number, text in enumerate(given):
        ids = model.encode(text)
        if len(ids) < 2:
            raise InputError(f"prompt {number}, {text!r}, has one token: the first is not edited, so two are needed")
        chosen = ids if inputs.prompt is not None else ids[: spec.prompt_tokens]
        if chosen in found:
            # An equal prompt says nothing new: its continuations would only make the intervals narrower.
            continue
        found.append(chosen)
        if len(found[-1]) + spec.new_tokens > model.geometry.n_ctx:
            raise InputError(f"prompt {number} has {len(found[-1])} tokens and {spec.new_tokens} new ones: this model "
                             f"reads {model.geometry.n_ctx}")  # fmt: skip
    return found


def check(model: Model, inputs: Inputs, spec: FeatureSteeringSpec) -> None:
    """Refuse what can be seen before anything runs."""
    wrong = [one for one in spec.strengths if not np.isfinite(one) or (spec.mode == "clamp" and one < 0)]
    if wrong:
        raise InputError(f"option strengths = {wrong[0]}: give finite numbers, for a clamp from 0 (activations are not "
                         "negative)")  # fmt: skip
    if short := [word for word in spec.target if len(word.strip()) < 2]:
        raise InputError(f"target word {short[0]!r}: give words of two letters at least")
    if negative := [one for one in spec.latents if one < 0]:
        raise InputError(f"latent {negative[0]} does not exist: they are counted from 0")
    if spec.dictionary is None and spec.layer is not None and spec.layer >= model.geometry.n_layers:
        raise InputError(f"option layer = {spec.layer}: this model has layers 0 to {model.geometry.n_layers - 1}")
    prompts_of(model, inputs, spec)


ANALYSIS = Analysis(
    name="feature_steering",
    title="Feature steering",
    family="Features",
    question="What does a model write while latents of a dictionary are clamped, scaled or ablated, and at what cost?",
    meaning="Target words over the strength, beside random latents that move every token as far, and the cost in loss.",
    paper="Templeton et al. 2024, Scaling Monosemanticity; Durmus et al. 2024; Wu et al. 2025, AxBench",
    needs=("prompt", "texts"),
    spec=FeatureSteeringSpec,
    version=2,
    onward=("feature_browser", "steering"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    trial={"spec": {"strengths": [0.0, 3.0], "samples": 2, "new_tokens": 4, "random_draws": 2, "held_texts": 2,
                    "held_tokens": 8}},
    example={"prompt": "The old house stands at the end of the",
             "spec": {"strengths": [5.0], "samples": 3, "new_tokens": 8, "random_draws": 2, "held_texts": 2}},
)  # fmt: skip
