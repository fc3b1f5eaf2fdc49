"""Options that every trained lens has, and what becomes of them before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from analyses._contract import Context, Inputs, Spec
from analyses._trained_lenses.texts import Texts, drawn_texts, given_texts, split
from analyses._trained_lenses.training import Schedule
from data.artifacts import check_name
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

RATES = {"least_squares": 3e-4, "identity": 1e-3}
"""Learning rates where none is given, found by trying on smollm2-135m."""
FEW = 5
TRIALS: tuple[dict[str, Any], ...] = (
    {
        "texts": [
            f"{a} saw the {b} near the {c} and the {d} was {a} {b}"
            for a, b, c, d in (
                ("Mary", "park", "house", "river"),
                ("John", "book", "school", "city"),
                ("Paul", "garden", "bank", "farm"),
                ("Anna", "river", "station", "park"),
                ("Emma", "city", "park", "book"),
                ("Jack", "farm", "river", "bank"),
                ("Tom", "school", "city", "house"),
                ("Kate", "bank", "farm", "station"),
            )
        ],
        "spec": {"steps": 4, "batch": 8, "length": 12},
    },
    {"prompt": "Mary saw the park", "spec": {"steps": 3, "batch": 8, "length": 12, "drawn": 12}},
)
"""What the contract tests fit."""
DRAWING = 0.25
"""Share of the progress bar that drawing texts takes."""


class TrainedLensSpec(Spec):
    """Options of fitting a lens. A subclass has `lens`, which names a kept one, and says what it reads."""

    layers: tuple[int, ...] = Field(
        (),
        description="layers to fit, or of a kept lens to read; none given means five evenly apart, or all kept ones",
    )
    start: Literal["least_squares", "identity"] = Field(
        "least_squares", description="least_squares: begin at the ridge regression on the model's last states; "
        "identity: begin at the logit lens, as the paper does"
    )  # fmt: skip
    ridge: float = Field(0.1, gt=0, le=100, description="of the regression, as a share of each channel's variance")
    steps: int = Field(120, ge=0, le=100_000, description="steps of the fit at each layer; 0 leaves the start as it is")
    batch: int = Field(64, ge=1, le=4096, description="tokens a step")
    rate: float | None = Field(
        None, gt=0, le=1, description="learning rate; none given: 0.0003 from least squares, 0.001 from the identity"
    )
    length: int = Field(96, ge=8, le=4096, description="tokens that are read of a text, from its beginning")
    held: float = Field(0.25, ge=0.1, le=0.8, description="share of the texts that only test the lens")
    drawn: int = Field(48, ge=8, le=4096, description="texts drawn from the model to fit on, for a prompt and no lens")
    draw_seed: int = Field(0, ge=0, description="seed of the split, the drawn texts and the order of tokens")
    keep_as: str | None = Field(None, min_length=1, description="keep the fitted lens under this name, for later runs")

    def states(self, tokens: int) -> int:
        """How many states a text of so many tokens gives."""
        return tokens - 1

    def schedule(self) -> Schedule:
        """Of each layer's fit."""
        return Schedule(self.steps, self.batch, self.rate or RATES[self.start], self.draw_seed)


def few_layers(last: int) -> list[int]:
    """At most FEW of the layers 0 to `last`, evenly apart, both ends among them."""
    count = min(FEW, last + 1)
    return sorted({round(last * turn / max(count - 1, 1)) for turn in range(count)})


def check_fit(model: Model, inputs: Inputs, spec: TrainedLensSpec, lens: str | None) -> None:
    """Refuse, before anything runs, what can be neither fitted nor kept."""
    if lens is not None:
        if spec.keep_as is not None:
            raise InputError("options lens and keep_as: a kept lens is only read; leave one of them out")
        return
    if spec.keep_as is not None:
        check_name(spec.keep_as)
    if inputs.texts:
        split(given_texts(model, inputs, spec.length), spec.held, spec.draw_seed, spec.states)
        return
    length = min(spec.length, model.geometry.n_ctx)
    alike = Texts(tuple((place,) * length for place in range(spec.drawn)), ("",) * spec.drawn, "")
    split(alike, spec.held, spec.draw_seed, spec.states)


def texts_to_fit(model: Model, inputs: Inputs, spec: TrainedLensSpec, context: Context) -> Texts:
    """The texts of the inputs, or for a prompt those that the model writes; split."""
    if inputs.texts:
        return split(given_texts(model, inputs, spec.length), spec.held, spec.draw_seed, spec.states)
    most = min(spec.length, model.geometry.n_ctx)
    drawn = drawn_texts(model, spec.drawn, most, spec.draw_seed,
                        lambda share, words: context.progress(DRAWING * share, words))  # fmt: skip
    return split(drawn, spec.held, spec.draw_seed, spec.states)
