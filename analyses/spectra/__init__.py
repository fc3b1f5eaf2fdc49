"""Spectra: into how many directions does the model spread its vectors, layer by layer and for each kind of text?

The vectors of a text's tokens at a site are a cloud; its singular values say how flat it is. Told are the participation
ratio, the effective rank, the coding rate, and the share of the variance along the top direction.

Source: Roy and Vetterli 2007, "The effective rank" (exp of the entropy of σ / Σσ); Yu et al. 2020, "Maximal Coding Rate
Reduction" (½ log det(I + d/(nε²) XXᵀ), ε 0.5); Gao et al. 2017, "A theory of multineuronal dimensionality" (the
participation ratio (Σλ)² / Σλ²).

Ours: all of these grow with the number of tokens, so every cloud of a run has equally many, drawn at random: `tokens`,
or as many as the shortest text has. A text is a cloud of its own, and intervals are over texts' values. Resampled texts
are not pooled for an interval: a text drawn twice repeats its tokens, which lowers every rank. Pooled clouds (equally
many tokens for each label, and for all texts) are told without one. A cloud is centred (`--no-centred` leaves that out)
and scaled by one number to a mean squared norm of 1, which ε is told against and nothing else depends on. The first
token of each text is left out (`skip`): as an attention sink its norm would rule every spectrum. Later tokens of great
norm still do; `unit_norm` divides every vector by its norm first. Two controls of the same size: each channel's values
dealt anew over the tokens, and Gaussian data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._activations import Kind, Text, read_texts
from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses._stats import Floats
from analyses.spectra.computing import chosen_tokens, clouds, pooled
from analyses.spectra.figures import figures, names
from analyses.spectra.tables import (
    DECAY,
    POOLED,
    SPECTRA,
    TEXTS,
    decay_table,
    pooled_table,
    spectra_table,
    texts_table,
)
from hooks.errors import InputError, unknown
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

LEAST = 4
"""Tokens below which a cloud says nothing."""


class SpectraSpec(Spec):
    """Options of spectra."""

    layers: tuple[int, ...] = layers_field()
    sites: tuple[Kind, ...] = Field((), description="sites to read; none given means resid_post")
    tokens: int | None = Field(
        None, ge=LEAST, description="tokens drawn from each text; none means as many as the shortest has"
    )
    skip: int = Field(1, ge=0, description="tokens left out at the beginning of each text")
    centred: bool = Field(True, description="whether a cloud's mean is taken away")
    unit_norm: bool = Field(False, description="whether each vector is divided by its norm first, as norms do")
    epsilon: float = Field(0.5, gt=0, le=100, description="ε of the coding rate, at a mean squared norm of 1")
    pooled: bool = Field(True, description="whether texts are also pooled by label")
    draw_seed: int = Field(0, ge=0, description="seed of the draws: tokens, shuffles, Gaussian data")
    measure: Literal["participation", "effective_rank", "coding_rate", "top_share"] = shown(
        "participation", description="measure drawn by label and pooled"
    )
    drawn_site: Kind | None = shown(None, description="site to draw; none means the first that is read")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The sites to read, each once."""
        return tuple(dict.fromkeys(self.sites)) or ("resid_post",)


def run(model: Model, inputs: Inputs, spec: SpectraSpec, context: Context) -> Frames:
    """Measure every text's clouds, and pooled ones; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `check` refuses; activations that are not finite.
    """
    check(model, inputs, spec)
    texts = _texts(model, inputs, spec)
    sites = [Site(layer, kind) for kind in spec.kinds for layer in checked_layers(model, spec.layers)]
    share = 0.7 if spec.pooled else 1.0
    found = clouds(model, texts, sites, spec, lambda part, label: context.progress(share * part, label))
    tokens, _ = chosen_tokens(texts, spec)
    size, together = 0, dict[str, Floats]()
    if spec.pooled:
        size, together = pooled(
            found, texts, sites, spec, lambda part, label: context.progress(share + (1 - share) * part, label)
        )
    return {
        "spectra": spectra_table(found, texts, sites, tokens),
        "pooled": pooled_table(size, together, sites, texts),
        "decay": decay_table(found, sites),
        "texts": texts_table(texts, tokens),
    }


def _texts(model: Model, inputs: Inputs, spec: SpectraSpec) -> list[Text]:
    if spec.tokens is None:
        why = f"{spec.skip} are left out at the beginning, and a cloud of fewer than {LEAST} says nothing"
        return read_texts(model, inputs, LEAST + spec.skip, why)
    why = f"every text gives {spec.tokens} tokens after the {spec.skip} left out (options tokens, skip)"
    return read_texts(model, inputs, spec.tokens + spec.skip, why)


def check(model: Model, inputs: Inputs, spec: SpectraSpec) -> None:
    """Refuse layers and sites that are not there, a site to draw that is not read, and texts too short."""
    layers = checked_layers(model, spec.layers)
    for kind in spec.kinds:
        Site(layers[0], kind).check(model.geometry)
    if spec.drawn_site is not None and spec.drawn_site not in spec.kinds:
        raise unknown("option drawn_site", spec.drawn_site, spec.kinds)
    if not inputs.texts:
        raise InputError("no texts: give at least one")
    _texts(model, inputs, spec)


ANALYSIS = Analysis(
    name="spectra",
    title="Spectra of activations",
    family="Features",
    question="Into how many directions does the model spread its vectors, layer by layer?",
    meaning="Measures of a cloud of tokens' vectors beside two controls of the same size; few directions are low.",
    paper="Roy and Vetterli 2007, effective rank; Yu et al. 2020, coding rate; Gao et al. 2017, participation ratio",
    needs=("texts",),
    spec=SpectraSpec,
    onward=("outlier_channels", "activation_sparsity"),
    run=run,
    figures=figures,
    columns={"spectra": SPECTRA, "pooled": POOLED, "decay": DECAY, "texts": TEXTS},
    check=check,
    pictures=names,
    trial={"texts": ["When John and Mary went to the store", "the red book on the table", "a cat sat on the mat there"],
           "labels": ["story", "things", "story"]},
    example={"set": "domains", "limit": 6, "spec": {"layers": [0, 5, 10, 15, 20, 25, 29]}},
)  # fmt: skip
