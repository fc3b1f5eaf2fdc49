"""Future lens: does the state at one token already hold the tokens that the model will write after the next?

From a layer's state at one position a linear map predicts the last layer's state one, two or three tokens further on;
read through the model's final norm and unembedding, it names the token that far ahead. Counted is how often that is the
token the model then writes, on texts that were not fitted on, beside what needs no such state: the most frequent token,
the most frequent one so far after this token, and the same map on the embedding alone.

Source: Pal et al. 2023, "Future Lens: Anticipating Subsequent Tokens from a Single Hidden State": linear maps from a
middle state to a later last state, precision at 1, bigram baseline.

Ours: offset 1 is the next token (0 in the paper). Texts are cut after `length` tokens and continued greedily, and only
the model's own continuation is fitted and scored; with `continuation given` the texts are read as they are, and what is
predicted is the token that the model finds most likely there. The map begins at the ridge regression and is then
fitted to KL(model ‖ lens) some tokens ahead; `steps 0` leaves the regression. Greedy text repeats itself, which any
state foresees, so a number means something only beside the baselines. The paper's prompts that are learned or causally
intervened with are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, an_artifact
from analyses._trained_lenses.options import TRIALS, TrainedLensSpec, check_fit
from analyses._trained_lenses.running import layers_to_fit
from analyses.future_lens.computing import run_future
from analyses.future_lens.figures import figures, names
from analyses.future_lens.tables import COLUMNS
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class FutureSpec(TrainedLensSpec):
    """Options of the future lens."""

    lens: str | None = an_artifact("future_lens", "a kept future lens to read with; none given fits one")
    ahead: int = Field(3, ge=1, le=8, description="tokens ahead, from 1, the next one, to this many")
    continuation: Literal["greedy", "given"] = Field(
        "greedy", description="greedy: what the model writes after the beginning of each text; given: the texts"
    )
    length: int = Field(32, ge=4, le=4096, description="tokens that are read of a text, from its beginning")
    new: int = Field(32, ge=4, le=1024, description="greedy tokens after each beginning")
    steps: int = Field(20, ge=0, le=100_000, description="steps of each fit, one a layer and offset; 0: none")

    def states(self, tokens: int) -> int:
        """How many states a text of so many tokens gives: those from which every offset can be checked."""
        return (self.new + 2 if self.continuation == "greedy" else tokens) - self.ahead


def run(model: Model, inputs: Inputs, spec: FutureSpec, context: Context) -> Frames:
    """Fit or take a lens, score it, read a prompt's end with it; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: too few texts or tokens, texts longer than the model reads, states that are not finite, a layer that
            is not there or has no map in the kept lens, a kept lens of another model, a fit that goes astray.
    """
    check(model, inputs, spec)
    return run_future(model, inputs, spec, context)


def check(model: Model, inputs: Inputs, spec: FutureSpec) -> None:
    """Refuse, before anything runs, what can be neither fitted, kept nor read."""
    if spec.continuation == "greedy" and spec.new < spec.ahead:
        raise InputError(f"option new = {spec.new}: at least as many as are looked ahead, {spec.ahead}")
    check_fit(model, inputs, spec, spec.lens)
    if spec.lens is None:
        layers_to_fit(model, spec.layers, 0)
    given = len(model.encode(inputs.prompt)) if inputs.prompt is not None else spec.length
    new = max(spec.ahead, spec.new if spec.continuation == "greedy" else 0)
    if given + new > model.geometry.n_ctx:
        raise InputError(
            f"{given} tokens and {new} new ones: {model.identity.name} reads at most {model.geometry.n_ctx}"
        )


ANALYSIS = Analysis(
    name="future_lens",
    title="Future lens",
    family="Features",
    question="Does the state at one token already hold the tokens that the model will write after the next?",
    meaning="How often the token some steps ahead is read off a single state, beside what needs no such state.",
    paper="Pal et al. 2023 (Future Lens)",
    needs=("texts", "prompt"),
    spec=FutureSpec,
    onward=("tuned_lens", "patchscopes"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=names,
    trial=tuple({**one, "spec": {**one["spec"], "new": 12, "ahead": 2}} for one in TRIALS),
    example={"set": "domains", "limit": 18, "seed": 0,
             "spec": {"layers": [20], "ahead": 2, "steps": 4, "length": 24, "new": 16, "batch": 32}},
)  # fmt: skip
