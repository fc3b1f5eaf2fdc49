"""Attribution graphs of toy models whose transcoders are kept in memory."""

from __future__ import annotations

from typing import Any

from analyses._contract import Frames, Inputs
from analyses._dictionaries.kept import KIND, contents
from analyses._registry import registry
from analyses.attribution_graph import AttributionGraphSpec, run
from hooks.model import Model
from tests.analyses.in_memory import Kept
from tests.hooks.replacement_toys import transcoder

PROMPT = "When John and Mary went to the store, John gave a drink to"
INPUTS = Inputs(prompt=PROMPT)


def kept_transcoders(model: Model, layers: tuple[int, ...] = (0, 1, 2)) -> Kept:
    kept = Kept()
    kept._keep("mine", KIND, *contents([transcoder(model, layer) for layer in layers], {}))
    return kept


def traced(model: Model, kept: Kept | None = None, **options: Any) -> Frames:
    kept = kept or kept_transcoders(model)
    spec = AttributionGraphSpec(**{"transcoders": "mine", "check_interventions": 4} | options)
    context = kept.context(use=lambda _field: kept.artifacts["mine"])
    frames = run(model, INPUTS, spec, context)
    registry()["attribution_graph"].conform(frames)
    return frames
