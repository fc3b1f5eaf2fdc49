"""Head atlas on models: uniform heads, induction heads, examples behind a cell, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses.head_atlas import ANALYSIS, AtlasSpec
from analyses.head_atlas.figures import filtered
from analyses.head_atlas.prompts import AUTOMATON, REPEAT, drawn_prompts
from analyses.head_atlas.tables import clustered
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from hooks.sites import Site

TEXTS = ("When John and Mary went to the store, John gave a drink to", "the red book on the table")
SMALL: dict[str, Any] = {"recent": 3, "prompts": 2, "repeat_length": 6, "automaton_length": 40, "clusters": 3}


def test_without_queries_every_head_of_a_model_is_uniform(models_folder: Path) -> None:
    model = load("toy:random", models_folder)
    for layer in range(model.geometry.n_layers):
        model.W_Q(layer).zero_()
    heads = ANALYSIS.run(model, Inputs(texts=TEXTS), AtlasSpec(**SMALL), Context())["heads"]
    np.testing.assert_allclose(heads["entropy"], 1, atol=1e-5)
    assert heads["overloaded"].all()
    assert not heads["collapsed"].any()
    assert set(heads["cluster"]) == {0}, "heads that do the same are one cluster, however many are asked for"
    np.testing.assert_allclose(heads["gain_2"], 0, atol=1e-6)


def test_the_induction_toy_has_induction_heads(models_folder: Path) -> None:
    model = load("toy:induction", models_folder)
    spec = AtlasSpec(recent=3, prompts=6, repeat_length=24, automaton_length=64, clusters=3)
    frames = ANALYSIS.run(model, Inputs(texts=TEXTS), spec, Context())
    heads = frames["heads"]
    best = heads.sort_values("induction", ascending=False).iloc[0]
    assert best["induction"] > 0.5
    assert best["induction_low"] > 0.4
    assert best["layer"] == 1, "it reads what an earlier layer wrote"
    early = heads[heads["layer"] == 0]
    assert early["previous_token"].max() > 0.4
    assert early["induction"].max() < 0.2


def test_a_head_is_the_mean_of_its_texts_and_its_cell_shows_its_strongest_weights(tiny: Model) -> None:
    spec = AtlasSpec(**SMALL, examples=3)
    frames = ANALYSIS.run(tiny, Inputs(texts=TEXTS), spec, Context())
    values, heads, examples = frames["values"], frames["heads"], frames["examples"]
    one = heads[(heads["layer"] == 1) & (heads["head"] == 2)].iloc[0]
    here = values[(values["layer"] == 1) & (values["head"] == 2) & (values["score"] == "entropy")]
    assert one["entropy"] == pytest.approx(here["value"].mean())
    assert one["entropy_low"] < one["entropy"] < one["entropy_high"]
    table = ANALYSIS.detail(frames, spec, "map", "2", "1") if ANALYSIS.detail else None
    assert table is not None
    assert table["weight"].is_monotonic_decreasing
    assert 0 < len(table) <= 3
    assert not table.duplicated(["query", "key"]).any()
    assert (table["position"] > table["distance"]).all(), "the first token is no example"
    ids = [tiny.encode(text) for text in TEXTS]
    for row in table.itertuples():
        pattern = run_with_cache(tiny, torch.tensor([ids[row.text]]), [Site(1, "pattern")])[Site(1, "pattern")][0, 2]
        assert row.weight == pytest.approx(float(pattern[row.position, row.position - row.distance]), abs=1e-5)
    assert len(examples) <= 3 * len(heads)
    groups = ANALYSIS.detail(frames, spec, "clusters", "entropy", f"0 ({(heads['cluster'] == 0).sum()} heads)")
    assert groups is not None
    assert len(groups) == (heads["cluster"] == 0).sum()


def test_drawn_prompts_are_those_of_the_seed_and_never_special(tiny: Model) -> None:
    spec = AtlasSpec(**SMALL)
    first, again = drawn_prompts(tiny, spec), drawn_prompts(tiny, spec)
    assert [one.ids for one in first] == [one.ids for one in again]
    other = drawn_prompts(tiny, spec.model_copy(update={"draw_seed": 1}))
    assert [one.ids for one in first] != [one.ids for one in other]
    assert [one.kind for one in first] == [REPEAT] * 2 + [AUTOMATON] * 2
    assert not {token for one in first for token in one.ids} & set(tiny.tokenizer.all_special_ids)


def test_clusters_are_numbered_by_size() -> None:
    names = ("entropy", "recency_mass", "previous_token", "sink_first", "duplicate_token", "induction", "gain_2")
    rows = [[0.1] * 7] * 3 + [[0.9] * 7] * 5 + [[0.5] * 7] * 1
    heads = pd.DataFrame(rows, columns=list(names))
    assert clustered(heads, 3, 0).tolist() == [1] * 3 + [0] * 5 + [2]


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (Inputs(texts=("the red book", "a")), {}, r"text 1, 'a', has 1 token:"),
        (Inputs(prompt="the red book"), {"recent": 50}, r"recent is 50 tokens and the longest text has \d+"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"clusters": 20}, "at most 12 clusters"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"repeat_length": 200}, "reads at most 256"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"collapse": 0.9}, "must be below overload"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"layer": 3}, "layer = 3"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"head": 4}, "valid heads are 0 to 3"),
        (Inputs(prompt=TEXTS[0]), SMALL | {"layers": (9,)}, "valid layers are 0 to 2"),
    ],
)
def test_what_cannot_be_read_is_refused(tiny: Model, inputs: Inputs, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ANALYSIS.check(tiny, inputs, AtlasSpec(**options))


def test_a_text_too_short_for_recency_counts_elsewhere(tiny: Model) -> None:
    texts = (TEXTS[0], "the red book")
    short = len(tiny.encode(texts[1]))
    assert short < len(tiny.encode(texts[0]))
    spec = AtlasSpec(**SMALL | {"recent": short})
    frames = ANALYSIS.run(tiny, Inputs(texts=texts), spec, Context())
    values = frames["values"]
    there = values[(values["number"] == 1) & (values["score"] == "recency_mass")]
    assert there["value"].isna().all()
    assert frames["heads"]["recency_mass"].notna().all()
    assert math.isfinite(frames["heads"]["entropy_low"].iloc[0])


def test_the_map_draws_the_heads_that_are_asked_for(tiny: Model) -> None:
    spec = AtlasSpec(**SMALL, examples=1)
    frames = ANALYSIS.run(tiny, Inputs(texts=TEXTS), spec, Context())
    heads = frames["heads"]
    middle = float(heads["induction"].median())
    for options, kept in (
        ({}, pd.Series(True, index=heads.index)),
        ({"only": "overloaded"}, heads["overloaded"].astype(bool)),
        ({"only_cluster": 1}, heads["cluster"] == 1),
        ({"only_cluster": 0, "least": middle}, (heads["cluster"] == 0) & (heads["induction"] >= middle)),
    ):
        away, said = filtered(heads, AtlasSpec(**SMALL, examples=1, **options))  # type: ignore[arg-type]
        assert (~away).equals(kept.astype(bool))
        assert bool(said) == bool(options)
        assert f"({int(kept.sum())} heads are)" in said or not options
        drawn = ANALYSIS.figures(frames, AtlasSpec(**SMALL, examples=1, **options))["map"]  # type: ignore[arg-type]
        assert ("grey: not" in " ".join(drawn.layout.meta["notes"])) == (bool(options) and not kept.all())
    with pytest.raises(InputError, match="option only_cluster = 9: the clusters are"):
        filtered(heads, AtlasSpec(**SMALL, only_cluster=9))
