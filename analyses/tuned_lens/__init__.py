"""Tuned lens: what does each layer predict once its state is translated into the last layer's terms?

The logit lens reads a middle layer with an unembedding that was made for the last one, so part of what it shows is a
difference of basis. Here each layer gets an affine translator, fitted on texts so that the distribution read after it
is near the model's own: KL(model ‖ lens). On texts that were not fitted on it is compared with the logit lens, and a
prompt is read with both, layer by layer.

Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens": an affine map a
layer, identity at first, trained by this divergence, with the model's final norm and unembedding frozen.

Ours: by default the fit begins at the ridge regression of the last layer's states on the layer's (`start identity` is
the paper's), which with some thousand tokens ends nearer than 120 steps from the identity; that start is scored by
itself as "least squares". Adam in place of SGD, each channel in its own units, a few thousand tokens in place of
hundreds of millions, and the step that is best on a part of the texts is kept. A text's first token is neither fitted
on nor scored, for its state is unlike all others. "no state" guesses the mean distribution over the fitted tokens. For
a prompt and no lens, the texts to fit on are drawn from the model itself. The last layer needs no lens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from analyses._contract import Analysis, Context, Frames, Inputs, an_artifact
from analyses._trained_lenses.options import TRIALS, TrainedLensSpec
from analyses._trained_lenses.running import Way, check_lens, columns_of, run_lens
from analyses.tuned_lens.figures import figures, names

if TYPE_CHECKING:
    from hooks.model import Model


class TunedSpec(TrainedLensSpec):
    """Options of the tuned lens."""

    lens: str | None = an_artifact("tuned_lens", "a kept tuned lens to read with; none given fits one")


def _parts(_model: Model, _layer: int, states: Tensor) -> tuple[Tensor, Tensor]:
    return states, states


WAY = Way("tuned_lens", "tuned lens", "logit lens", "resid_post", 1, _parts, lambda model: model.geometry.d_model)


def run(model: Model, inputs: Inputs, spec: TunedSpec, context: Context) -> Frames:
    """Fit or take a lens, score it, read a text with it; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: too few texts or tokens, states that are not finite, a layer that is not there, needs no lens or has
            none in the kept one, a kept lens of another model, a fit that goes astray.
    """
    return run_lens(WAY, model, inputs, spec, context).frames


ANALYSIS = Analysis(
    name="tuned_lens",
    title="Tuned lens",
    family="Features",
    question="What does each layer predict once its state is translated into the last layer's terms?",
    meaning="How far each layer still is from the model's own output, by a fitted lens and by the logit lens.",
    paper="Belrose et al. 2023 (tuned lens)",
    needs=("texts", "prompt"),
    spec=TunedSpec,
    onward=("logit_lens", "future_lens", "attention_lens"),
    run=run,
    figures=figures,
    columns=columns_of(WAY.plain),
    check=partial(check_lens, WAY),
    pictures=names,
    trial=TRIALS,
    example={"set": "domains", "limit": 24, "seed": 0,
             "spec": {"layers": [14, 28], "steps": 8, "length": 40, "batch": 32}},
)  # fmt: skip
