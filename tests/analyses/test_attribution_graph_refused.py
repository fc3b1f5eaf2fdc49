"""Attribution graphs that cannot be: options, prompts, dictionaries and sizes are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from analyses._contract import Inputs
from analyses._dictionaries.kept import KIND, contents
from analyses._registry import registry
from analyses.attribution_graph import AttributionGraphSpec, computing, run
from hooks.dictionaries import Placed
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.attribution_toys import INPUTS, kept_transcoders, traced
from tests.analyses.in_memory import Kept
from tests.hooks.replacement_toys import transcoder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"graph": "g", "transcoders": "mine"}, "leave one of them out"),
        ({"label": ("4_77",)}, "label '4_77' cannot be read"),
        ({"label": ("=x",)}, "cannot be read"),
        ({"supernode": ("one=",)}, "supernode 'one=' cannot be read"),
        ({"keep_as": "A B"}, "artifact name"),
    ],
)
def test_options_that_cannot_be_are_refused_early(tiny: Model, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        registry()["attribution_graph"].check(tiny, INPUTS, AttributionGraphSpec(**options))


def test_inputs_that_cannot_be_traced_are_named(tiny: Model) -> None:
    kept = kept_transcoders(tiny)
    context = kept.context(use=lambda _field: kept.artifacts["mine"])
    spec = AttributionGraphSpec(transcoders="mine")
    with pytest.raises(InputError, match="is one token"):
        run(tiny, Inputs(prompt=" the"), spec, context)
    with pytest.raises(InputError, match="unknown node '9_9_9'"):
        run(tiny, INPUTS, AttributionGraphSpec(transcoders="mine", supernode=("x=9_9_9",)), context)
    other = Kept()
    stream = transcoder(tiny, 1).dictionary
    sae = Placed(stream, Site(1, "resid_post"), Site(1, "resid_post"), tiny.identity.as_dict())
    other._keep("mine", KIND, *contents([sae], {}))
    with pytest.raises(InputError, match="no transcoder of an MLP"):
        run(tiny, INPUTS, spec, other.context(use=lambda _field: other.artifacts["mine"]))


def test_too_large_a_graph_is_refused_before_it_is_made(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="give a shorter prompt, or a smaller most_features"):
        traced(tiny)
