"""Activation sparsity at a stated cost: how few neurons may speak before perplexity rises by p%?

A neuron's contribution is its value times its row of the output weights. In every layer the contributions up to a
threshold are dropped; thresholds are such that all layers lose the same share c of their MLP's output (CETT: the length
of the dropped sum over that of the whole, mean over tokens), and c is such that perplexity rises by the increase asked
for. What is told is the share of neurons left, by layer, and the curve of both over c.

Source: Luo et al. 2024, "Sparsing Law" (PPL-p% sparsity); Song et al. 2024, "ProSparse" (CETT; METHODS § 10).

Ours: thresholds and c are found on one half of the texts, in turn within each label, and perplexity is told for both
halves; only the first is at the target by construction. The 65,536 candidates are quantiles of the layer's own
contributions, zero to the largest, where the source takes equal steps to the 99th percentile: any c from 0 to 1 can be
met. The output bias is no contribution, so that dropping everything is c = 1. CETT is read in the unchanged model. Two
baselines give every token as many neurons of each layer as the thresholds leave in the mean: those with the largest
|activation|, and neurons drawn at random, anew for every token. The ratio counts neurons of the layers chosen alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from analyses._activations import halves_of, read_texts
from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Context, Frames, Inputs, Spec
from analyses.activation_sparsity.computing import rise
from analyses.activation_sparsity.figures import figures, names
from analyses.activation_sparsity.study import Study
from analyses.activation_sparsity.tables import (
    ARMS,
    CURVE,
    FITTED,
    HELD_OUT,
    LAYERS,
    TEXTS,
    THRESHOLDS,
    VERDICT,
    arms_table,
    curve_table,
    layers_table,
    texts_table,
    verdict_table,
)
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4)


class SparsitySpec(Spec):
    """Options of activation sparsity."""

    layers: tuple[int, ...] = layers_field("layers whose neurons are dropped")
    increase: float = Field(1.0, gt=0, le=1000, description="percent by which perplexity may rise")
    tolerance: float = Field(0.05, gt=0, le=10, description="percentage points within which the rise is the increase")
    most_steps: int = Field(12, ge=0, le=40, description="steps of the search for the CETT")
    levels: tuple[float, ...] = Field((), description="CETTs of the curve; none given means 0.05, 0.1, 0.2, 0.3, 0.4")
    tokens: int = Field(256, ge=8, le=65_536, description="tokens on which thresholds are found, drawn at random")
    draw_seed: int = Field(0, ge=0, description="seed of that draw, and of the random neurons")


def run(model: Model, inputs: Inputs, spec: SparsitySpec, context: Context) -> Frames:
    """Find thresholds, the CETT and the baselines; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `check` refuses; activations that are not finite.
    """
    check(model, inputs, spec)
    layers = checked_layers(model, spec.layers)
    halves = halves_of(read_texts(model, inputs, 2, "a loss needs a token that is predicted"), inputs.groups)
    study = Study.begun(model, halves, layers, spec, context)
    # A rule at CETT 0 drops exact zeros alone, so the dense run also counts which neurons speak at all.
    dense = study.both(0.0, 0.06)
    levels = sorted(set(spec.levels or LEVELS) - {0.0})
    curve = []
    for level in levels:
        both = study.both(level, 0.35 / len(levels))
        curve.append((level, *both, study.baselines(both[1], spec.draw_seed, 0.15 / len(levels))))
    found = study.searched({level: rise(first, dense[0]) for level, first, *_ in curve}, dense[0], spec, 0.2)
    sparse = study.both(found.allowed, 0.06)
    arms = arms_table({THRESHOLDS: sparse[1]} | study.baselines(sparse[1], spec.draw_seed, 0.06), dense[1])
    return {
        "verdict": verdict_table(found, arms, spec, len(halves[0]), study.tokens),
        "layers": layers_table(study.fitted, found.allowed, sparse[1]),
        "curve": curve_table(curve, dense),
        "arms": arms,
        "texts": texts_table({FITTED: (halves[0], dense[0], sparse[0]), HELD_OUT: (halves[1], dense[1], sparse[1])}),
    }


def check(model: Model, inputs: Inputs, spec: SparsitySpec) -> None:
    """Refuse layers that are not there, levels that are no CETT, fewer than two texts, texts of one token."""
    checked_layers(model, spec.layers)
    for level in spec.levels:
        if not 0 <= level <= 1:
            raise InputError(f"option levels = {level:g}: a CETT is a share of the MLP's output, from 0 to 1")
    halves_of(read_texts(model, inputs, 2, "a loss needs a token that is predicted"), inputs.groups)


ANALYSIS = Analysis(
    name="activation_sparsity",
    title="Activation sparsity",
    family="Features",
    question="How few neurons of the MLPs may speak before perplexity rises by p%?",
    meaning="Neurons whose contribution is above a threshold speak; all layers lose the same share of their output.",
    paper="Luo et al. 2024, Sparsing Law; Song et al. 2024, ProSparse (CETT)",
    needs=("texts",),
    spec=SparsitySpec,
    onward=("outlier_channels",),
    run=run,
    figures=figures,
    columns={"verdict": VERDICT, "layers": LAYERS, "curve": CURVE, "arms": ARMS, "texts": TEXTS},
    check=check,
    pictures=names,
    trial={"texts": ["When John and Mary went to the store", "the red book on the table", "a cat sat"],
           "spec": {"levels": [0.2, 0.6], "most_steps": 3, "tokens": 8}},
    example={"set": "domains", "limit": 2,
             "spec": {"layers": [5, 15, 25], "levels": [0.3, 0.6], "most_steps": 1, "tolerance": 0.5}},
)  # fmt: skip
