"""Figures of the tuned lens: how near by layer, which tokens agree, what one text reads as, and the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analyses._contract import Frames
from analyses._trained_lenses.figures import by_layer, curves, words

if TYPE_CHECKING:
    from analyses.tuned_lens import TunedSpec

ALWAYS = ("kl", "agreement", "tuned_tokens", "logit_tokens")


def names(spec: TunedSpec) -> tuple[str, ...]:
    """The figures' names, in order; a kept lens has no fit to draw."""
    return ALWAYS if spec.lens is not None else (*ALWAYS, "fitting")


def figures(frames: Frames, spec: TunedSpec) -> dict[str, go.Figure]:
    """From the frames alone."""
    scores, about, cells = frames["scores"], frames["about"], frames["cells"]
    found = {
        "kl": by_layer(
            scores, about, "kl", title="Distance from the model's output: tuned lens and logit lens",
            x_title="output of layer", y_title="KL(model ‖ lens) (nats)",
        ),
        "agreement": by_layer(
            scores, about, "agreement", title="The model's own most likely token, read at each layer",
            x_title="output of layer", y_title="tokens that agree (fraction)",
        ),
        "tuned_tokens": words(
            cells, about, "tuned lens", title="Tuned lens: what each layer predicts", y_title="output of layer"
        ),
        "logit_tokens": words(cells, about, "logit lens", title="Logit lens, same text", y_title="output of layer"),
    }  # fmt: skip
    return found if spec.lens is not None else found | {"fitting": curves(frames["curves"], about, "tuned lens")}
