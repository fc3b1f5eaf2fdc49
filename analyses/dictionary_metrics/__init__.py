"""Measures of a dictionary: how much does it keep, at what cost, and how many of its latents are of use?

A kept dictionary (or a small one made on the spot) is measured over a text: active latents a token (L0), explained
variance, cosine, norm ratio and relative bias of its reconstructions; the cross-entropy and KL that are recovered when
they stand in place of the activations; latents that are dead or dense; how alike their directions are, beside random
ones; the dictionary's prefixes alone; and first-letter absorption.

Sources: METHODS § 12; Gao et al. 2024 (explained variance, loss recovered), Karvonen et al. 2025 (SAEBench), Chanin et
al. 2024 (absorption), Bussmann et al. 2025 (prefixes), Rajamanoharan et al. 2024 (relative bias).

Ours: explained variance is one minus the summed squared error over the summed squared distance from the mean, over all
tokens; SAEBench subtracts the square of a second moment there. A text's first token is neither measured nor replaced,
and the prediction after it is left out: its norm is many times the others', and trainings here leave it out. CE
recovered divides summed nats, so that long texts weigh more. Absorption: the probes are fitted on words of the model's
own vocabulary after "A word:", the projection is that of the activation less b_dec, and main latents are chosen on the
words that probes are fitted on. A transcoder is measured against what it writes. Of a cross-layer set each layer's MLP
output is measured against what all latents write to it, alone and with all layers replaced at once, from the unchanged
model's states; prefixes and letters are left out. Texts that a dictionary was trained on are recognised and left out.
Intervals are over documents: pieces of one text are no independent draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses._dictionaries.at_hand import DictionarySpec
from analyses.dictionary_metrics.computing import measure_all
from analyses.dictionary_metrics.figures import NAMES, figures
from analyses.dictionary_metrics.tables import COLUMNS

if TYPE_CHECKING:
    from hooks.model import Model


class MetricsSpec(DictionarySpec):
    """Options of a dictionary's measures."""

    layers: tuple[int, ...] = Field((), description="those of the dictionary's layers to measure; none given means all")
    ablation: Literal["zero", "mean"] = Field(
        "zero", description="what CE and KL recovered are compared with: the site set to zero, or to its mean"
    )
    loss_texts: int = Field(32, ge=1, le=100_000, description="texts or pieces that CE and KL are measured on")
    prefix_losses: bool = Field(False, description="measure the losses of the dictionary's prefixes too")
    words: int = Field(
        1500, ge=0, le=50_000, description="words of the vocabulary for first-letter absorption; 0 leaves it out"
    )
    least_f1: float = Field(0.6, ge=0, le=1, description="F1 that a letter's probe needs for its absorption to count")
    layer: int | None = shown(None, description="layer whose absorption is drawn; none given means the first")


def run(model: Model, inputs: Inputs, spec: MetricsSpec, context: Context) -> Frames:
    """Measure; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a dictionary or text of another model, a layer that the dictionary does not have, texts without
            three tokens, NaN in the activations.
    """
    return measure_all(model, inputs, spec, context)


ANALYSIS = Analysis(
    name="dictionary_metrics",
    title="Measures of a dictionary",
    family="Features",
    question="How much does a dictionary keep, at what cost, and how many of its latents are of use?",
    meaning="Shares of variance and of the model's loss that reconstructions keep, and what kind of latents do it.",
    paper="Gao et al. 2024; Karvonen et al. 2025, SAEBench; Chanin et al. 2024",
    needs=("texts", "prompt"),
    version=2,
    spec=MetricsSpec,
    onward=("feature_browser", "train_dictionary"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    pictures=lambda _spec: NAMES,
    trial={"spec": {"drawn": 100, "length": 8, "words": 40}},
    example={"set": "domains", "limit": 8, "spec": {"loss_texts": 3, "words": 100}},
)
