"""Attention lens: what do the heads of one layer say, read by maps into the vocabulary that were fitted for them?

Every head of a layer has a linear map from what it writes into logits; the sum over the layer's heads is fitted so
that its distribution is near the model's own: KL(model ‖ lens). Before fitting, every map is the model's unembedding,
and the sum is the logit lens of the heads' sum. Afterwards a prompt is read head by head.

Source: Sakarvadia et al. 2023, "Attention Lens: A Tool for Mechanistically Interpreting the Attention Head Information
Retrieval Mechanism": a linear map d_model → vocabulary a head, initialised at the unembedding, the sum over heads
trained by this divergence at the last token.

Ours: a map of d_model × vocabulary numbers a head is 28 million at smollm2-135m's size. Instead head h has W_U after a
correction: (I + P_h) W_U, with P_h fitted and of rank d_head at most, for a head writes into d_head directions and
nothing else of a map can matter. What is lost is logits outside the span of W_U. The final norm is kept, its scale
taken from the lens' own sum; the bias is fitted in d_model and added once, not once a head. The fit is on all tokens
but each text's first, not the last alone, and begins at the ridge regression of the last layer's states on the heads'
outputs unless `start identity` is chosen; that start is scored by itself as "least squares". "no state" guesses the
mean distribution over the fitted tokens: a lens above it has read nothing. The attention's own output bias is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor

from analyses._common import HEAD, LAYER, POSITION
from analyses._contract import Analysis, Column, Context, Frames, Inputs, an_artifact, shown
from analyses._trained_lenses.options import TRIALS, TrainedLensSpec
from analyses._trained_lenses.running import Way, check_lens, columns_of, layers_to_fit, run_lens
from analyses.attention_lens.figures import figures, names
from analyses.attention_lens.heads import heads_table
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class AttentionLensSpec(TrainedLensSpec):
    """Options of the attention lens."""

    lens: str | None = an_artifact("attention_lens", "a kept attention lens to read with; none given fits one")
    layer: int | None = shown(None, ge=0, description="layer whose heads are drawn; none given: the last that is read")


def _parts(model: Model, layer: int, states: Tensor) -> tuple[Tensor, Tensor]:
    x = rearrange(states, "row head d_head -> row (head d_head)")
    return x, x @ rearrange(model.W_O(layer).float(), "head d_head d_model -> (head d_head) d_model")


WAY = Way(
    "attention_lens", "attention lens", "logit lens of the heads", "z", 0, _parts,
    lambda model: model.geometry.n_heads * model.geometry.d_head,
)  # fmt: skip


def run(model: Model, inputs: Inputs, spec: AttentionLensSpec, context: Context) -> Frames:
    """Fit or take a lens, score it, read a text with it head by head; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: too few texts or tokens, states that are not finite, a layer that is not there or that the kept lens
            has no map for, a kept lens of another model, a fit that goes astray.
    """
    done = run_lens(WAY, model, inputs, spec, context)
    return done.frames | {"heads": heads_table(model, done)}


def check(model: Model, inputs: Inputs, spec: AttentionLensSpec) -> None:
    """Refuse what can be neither fitted nor read, and a layer to draw that is not."""
    check_lens(WAY, model, inputs, spec)
    if spec.layer is None:
        return
    read = list(spec.layers) if spec.lens is not None else layers_to_fit(model, spec.layers, 0)
    if read and spec.layer not in read:
        raise InputError(f"option layer = {spec.layer}: the layers that are read are {', '.join(map(str, read))}")


ANALYSIS = Analysis(
    name="attention_lens",
    title="Attention lens",
    family="Features",
    question="What do a layer's heads say, read by maps that were fitted for them?",
    meaning="How far the heads' sum is from the model's output, and what each head says at each token.",
    paper="Sakarvadia et al. 2023 (Attention Lens)",
    needs=("texts", "prompt"),
    spec=AttentionLensSpec,
    onward=("tuned_lens", "direct_logit_attribution"),
    run=run,
    figures=figures,
    columns=columns_of(WAY.plain)
    | {
        "heads": (
            LAYER, HEAD, POSITION,
            Column("lens", "", "what reads the head"),
            Column("top", "", "most likely next token by this head alone"),
            Column("top_id", "", "its id"),
            Column("probability", "fraction", "its probability by this head alone"),
            Column("norm", "", "length of what the head adds, in units of the sum's norm scale"),
        )
    },
    check=check,
    pictures=names,
    trial=TRIALS,
    example={"set": "domains", "limit": 36, "seed": 0,
             "spec": {"layers": [28], "steps": 8, "length": 40, "batch": 32}},
)  # fmt: skip
