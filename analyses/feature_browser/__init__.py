"""Feature browser: what makes each latent of a dictionary active, and what does it do to the next token?

Every latent of a kept dictionary (or of a small one made on the spot) is read over a text: how often and how strongly
it is active, the contexts of its highest activations and of each quarter of the rest, the tokens that its direction
promotes and suppresses, the latents with the nearest directions, those that are active together with it, and where it
is active in a prompt of your own. All of it is computed once; sorting, searching and choosing a latent only redraw.

Sources: Bricken et al. 2023, "Towards Monosemanticity" (contexts by quantile, logit weights); Bills et al. 2023 and
Paulo et al. 2024 (labels scored by detection).

Ours: promoted tokens are read through the final norm's weight with its scale held at 1, less the mean over the
vocabulary, so that logits of a latent compare with one another but not with the model's. Latents are active together by
φ, the correlation of being active. Automatic labels are the tokens that hold most of a latent's activation on one half
of the texts, and are tested on the other half: 12 contexts that end with a token on which the latent is active against
12 in which it is silent; pieces of one document are in one half. The first token of a text is left out, as in
trainings here, and texts that the dictionary was trained on are recognised and left out. Of a cross-layer set, the
latents of one layer read are shown; what they write is summed over all layers that they write to.

A model may be asked for labels as well (`asks`): it reads marked excerpts and says what they share, and its labels are
tested in the same way, by its own judgement of other excerpts. A small model's labels are to be read with their score.

Labels of your own are kept under the name in `keep_as`, with the dictionary's revision: with another dictionary
they are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses._dictionaries.at_hand import LATENTS, DictionarySpec
from analyses._dictionaries.labels import KIND as LABELS
from analyses._spec import an_artifact, another_model
from analyses.feature_browser.choosing import detail, refuse_beyond
from analyses.feature_browser.computing import browse
from analyses.feature_browser.figures import ASKED, NAMES, figures
from analyses.feature_browser.tables import COLUMNS
from data.artifacts import check_name
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class BrowserSpec(DictionarySpec):
    """Options of the feature browser."""

    layer: int | None = Field(
        None, ge=0, description="layer whose dictionary is read; none given means the first of those kept together"
    )
    contexts: int = Field(8, ge=1, le=64, description="contexts kept of each latent; four of them one a quarter")
    tokens: int = Field(8, ge=1, le=50, description="promoted and suppressed tokens kept of each latent")
    neighbours: int = Field(5, ge=1, le=50, description="nearest and co-active latents kept of each latent")
    asks: str | None = another_model("model that is asked for labels too; none given means labels of tokens alone")
    ask: tuple[int, ...] = Field(
        (), description="latents that it is asked about; none given means the 10 whose labels of tokens tell best"
    )
    labels: str | None = an_artifact(LABELS, "kept labels of this dictionary")
    write: tuple[str, ...] = Field((), description="labels to write, as 12=months; over kept ones")
    keep_as: str | None = Field(None, min_length=1, description="name to keep kept and written labels under")
    latent: int | None = shown(
        None, ge=0, description="latent whose card is shown; none given means the first of the table"
    )
    sort: Literal["density", "norm", "largest", "effect", "auroc", "latent"] = shown(
        "auroc", description="order of the table; effect: the largest promoted logit, auroc: of the automatic label"
    )
    ascending: bool = shown(False, description="smallest first")
    find: str | None = shown(None, min_length=1, description="list latents that have this text among their tokens")
    find_in: Literal["anywhere", "activates", "promoted", "suppressed", "label"] = shown(
        "anywhere", description="where to look: tokens it is active on, tokens it moves, or written labels"
    )
    rows: int = shown(20, ge=1, le=200, description="latents in the table")

    def claims(self) -> dict[str, tuple[str, bool]]:
        """Labels are written over those of the same name: they are there to be added to."""
        return dict.fromkeys(self.keeps(), (LABELS, True))


def run(model: Model, inputs: Inputs, spec: BrowserSpec, context: Context) -> Frames:
    """Read every latent; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a dictionary, text or labels of another model or dictionary, a layer that the dictionary does not
            have, a label that names no latent.
    """
    return browse(model, inputs, spec, context)


def _check(_model: Model, _inputs: Inputs, spec: BrowserSpec) -> None:
    if spec.dictionary is None and (spec.keep_as or spec.labels or spec.write):
        raise InputError("labels belong to a kept dictionary: name one (--dictionary)")
    if spec.dictionary is None and spec.latent is not None:
        refuse_beyond(spec.latent, LATENTS)
    if spec.ask and spec.asks is None:
        raise InputError("option ask names latents, but no model to ask about them: name one (--asks smollm2-135m)")
    if spec.keep_as is not None:
        check_name(spec.keep_as)


ANALYSIS = Analysis(
    name="feature_browser",
    title="Feature browser",
    family="Features",
    question="What makes each latent of a dictionary active, and what does it do to the next token?",
    meaning="A table of latents to sort and search, and the card of one: its contexts, its tokens, its neighbours.",
    paper="Bricken et al. 2023, Towards Monosemanticity; Bills et al. 2023; Paulo et al. 2024",
    needs=("texts", "prompt"),
    version=2,
    spec=BrowserSpec,
    onward=("feature_steering", "dictionary_metrics"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=lambda spec: NAMES if spec.asks is None else (*NAMES, ASKED),
    detail=detail,
    trial={"spec": {"drawn": 100, "length": 8, "contexts": 5, "rows": 5}},
    example={"set": "domains", "limit": 24, "spec": {}},
)
