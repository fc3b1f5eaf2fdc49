"""Train sparse dictionaries: can few directions out of many explain what this layer holds?

An autoencoder reconstructs a site's activations, a transcoder the output of an MLP from its input, each by few active
latents of an overcomplete dictionary. Text is given, or the model writes it; its activations are read once, shuffled,
and trained on. What is held out says how much is explained, by how many latents, and how many are dead.

Sources: Bricken et al. 2023 (standard, resampling), Rajamanoharan et al. 2024 (gated; JumpReLU), Gao et al. 2024
(TopK, AuxK), Bussmann et al. 2024 and 2025 (BatchTopK, Matryoshka), Dunefsky et al. 2024 and Paulo et al. 2025
(transcoders, skips); METHODS § 12 and `kernels/dictionary_step/naive.py` for the formulas.

Ours: the first token of every text is left out, and every other token whose norm is more than ten times the median:
attention rests on them, and their errors would be most of the loss. Activations are divided by one number, so that
their mean norm is √channels; it is folded back. JumpReLU's penalty is λ(L0/active − 1)², its bandwidth 0.2 of a
channel's size rather than 0.001, its thresholds start where four times the wanted latents are active and move at five
times the rate: trainings are of minutes. For the same reason standard's biases move at ten times the rate, and its
encoder begins as long as fits the activations best. A latent is dead after 20 batches without firing, not 10M tokens.
BatchTopK and Matryoshka are kept as jumprelu with one running threshold. A transcoder reads the normalised input of
the MLP before the norm's weights. A cross-layer transcoder (Ameisen et al. 2025, who use JumpReLU) is trained by
BatchTopK in each layer, all its targets with one weight.

The dictionary is kept under the name given in `keep_as`; other pages use it by that name. With it are kept hashes of
the texts that it was trained on, by which measures elsewhere leave them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses._dictionaries.corpus import KIND as TEXT
from analyses._dictionaries.kept import KIND
from analyses._spec import an_artifact
from analyses.train_dictionary.computing import checked, latents_of, train_all
from analyses.train_dictionary.figures import figures, names
from analyses.train_dictionary.rows import drawn_rows, refuse_short
from analyses.train_dictionary.tables import COLUMNS
from kernels.dictionary_step import ARCHITECTURES

if TYPE_CHECKING:
    from hooks.model import Model


class TrainSpec(Spec):
    """Options of training dictionaries."""

    kind: Literal["autoencoder", "transcoder", "skip_transcoder", "cross_layer"] = Field(
        "autoencoder",
        description="transcoder: MLP output from MLP input; a skip adds a linear way past the latents; cross_layer: "
        "latents of each layer write to all later layers too",
    )
    architecture: Literal[ARCHITECTURES] = Field("batch_topk", description="what keeps the latents sparse")  # type: ignore[valid-type]
    site: Literal["resid_post", "resid_mid", "resid_pre", "attn_out", "mlp_out", "z", "mlp_post"] = Field(
        "resid_post", description="what an autoencoder reads; transcoders read the MLP's input"
    )
    layers: tuple[int, ...] = Field(
        (), description="a dictionary for each of these layers; none given means the middle"
    )
    latents: int | None = Field(None, ge=2, le=262_144, description="latents of each; none given: 4 times the width")
    active: int = Field(32, ge=1, le=4096, description="active latents a token; jumprelu is drawn to it")
    sparsity: float | None = Field(
        None, gt=0, description="λ of standard (none given: 0.5), gated (1) and jumprelu (1)"
    )
    drawn: int = Field(60_000, ge=100, le=10_000_000, description="tokens that the model writes where no text is given")
    length: int = Field(128, ge=8, le=8192, description="tokens of a text; longer ones are cut into pieces")
    text: str | None = an_artifact(TEXT, "a kept text to train on, in place of the input's; from an earlier training")
    capture: str | None = an_artifact("capture", "a stored capture to train on, in place of any text")
    held_out: float = Field(0.1, gt=0, lt=0.9, description="share of the texts that is measured on, not trained on")
    norm_limit: float = Field(
        10.0, gt=1, description="tokens of a norm above so many times the median are left out (attention rests on them)"
    )
    steps: int = Field(1500, ge=1, le=1_000_000, description="training steps of each dictionary")
    batch: int = Field(1024, ge=1, le=65_536, description="tokens a step")
    rate: float = Field(0.002, gt=0, le=1, description="highest learning rate of Adam")
    points: int = Field(30, ge=2, le=200, description="measurements on the way")
    keep_as: str | None = Field(
        None, min_length=1, description="name to keep the dictionary under; text that was drawn is kept as NAME.text"
    )
    replace: bool = Field(False, description="keep it even where another dictionary has that name, in its place")
    draw_seed: int = Field(0, ge=0, description="seed of the text, the split, the first weights and the batches")

    def keeps(self) -> tuple[str, ...]:
        """The dictionary, and the text beside it."""
        return () if self.keep_as is None else (self.keep_as, f"{self.keep_as}.text")

    def claims(self) -> dict[str, tuple[str, bool]]:
        """Neither replaces another run's unless asked for."""
        return {name: (kind, self.replace) for name, kind in zip(self.keeps(), (KIND, TEXT), strict=False)}


def run(model: Model, inputs: Inputs, spec: TrainSpec, context: Context) -> Frames:
    """Read or write the text, capture, train, measure; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: fewer tokens than latents, a site or layer that this model does not have, more active latents than
            there are, a loss that is not finite, NaN in the activations.
    """
    return train_all(model, inputs, spec, context)


def _check(model: Model, inputs: Inputs, spec: TrainSpec) -> None:
    places = checked(model, spec)
    if spec.capture is None and spec.text is None and not inputs.texts:
        refuse_short(drawn_rows(model, spec), latents_of(model, places[0][1], spec), spec.held_out)


ANALYSIS = Analysis(
    name="train_dictionary",
    title="Train a dictionary",
    family="Features",
    question="Can few directions out of many explain what this layer holds?",
    meaning="Share of held-out variance that the dictionary explains, by how many active latents, and which ones die.",
    paper="Bussmann et al. 2024, BatchTopK; Gao et al. 2024; Rajamanoharan et al. 2024; Dunefsky et al. 2024",
    needs=("texts", "prompt"),
    by_text=True,
    spec=TrainSpec,
    onward=("dictionary_metrics", "feature_browser", "feature_steering"),
    version=2,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=names,
    trial={
        "prompt": "Three words here",
        "spec": {"latents": 24, "active": 3, "drawn": 200, "length": 8, "steps": 4, "batch": 32, "points": 2},
    },
    example={
        "set": "domains",
        "limit": 24,
        "spec": {"latents": 512, "active": 16, "steps": 60, "batch": 512, "points": 10},
    },
)
