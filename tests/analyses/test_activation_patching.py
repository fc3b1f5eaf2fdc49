"""Activation patching by identity and by hand, and against TransformerLens on a whole grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses.activation_patching import PatchingSpec, patched_top_tokens, run
from hooks.errors import InputError
from hooks.model import Model
from hooks.pairs import PromptPair, align
from hooks.sites import Site
from tests.pairs import OTHER, PAIR

ALL = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "z_by_position")


def cells(model: Model, *pairs: PromptPair, **spec: object) -> pd.DataFrame:
    return run(model, Inputs(pairs=pairs), PatchingSpec.model_validate(spec), Context())["cells"]


def one(frame: pd.DataFrame, **where: object) -> pd.Series:
    chosen = frame
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1, where
    return chosen.iloc[0]


def test_patching_every_position_of_the_input_restores_clean(tiny: Model) -> None:
    """At layer 0 the only differing position carries everything, so patching it alone is the clean run."""
    frame = cells(tiny, PAIR, sites=["resid_pre"])
    (differs,) = align(tiny, PAIR).differing
    assert one(frame, metric="recovery", layer=0, position=differs)["value"] == pytest.approx(1, abs=1e-4)
    assert one(frame, metric="kl", layer=0, position=differs)["value"] == pytest.approx(0, abs=1e-5)


def test_unchanged_positions_have_no_effect(tiny: Model) -> None:
    frame = cells(tiny, PAIR, sites=["resid_pre"])
    (differs,) = align(tiny, PAIR).differing
    before = frame[(frame["metric"] == "logit_diff") & (frame["position"] < differs)]
    assert len(before) == differs * tiny.geometry.n_layers
    assert np.allclose(before["effect"], 0, atol=1e-5)


def test_last_layer_last_position_is_the_whole_answer(tiny: Model) -> None:
    frame = cells(tiny, PAIR, sites=["resid_post"])
    last = one(frame, metric="recovery", layer=tiny.geometry.n_layers - 1, position=len(tiny.encode(PAIR.clean)) - 1)
    assert last["value"] == pytest.approx(1, abs=1e-4)


def test_noising_mirrors_denoising(tiny: Model) -> None:
    """Corrupted into clean is clean into corrupted with the prompts exchanged: logit differences agree cell by cell."""
    swapped = PromptPair(PAIR.corrupted, PAIR.clean, PAIR.distractor, PAIR.answer)
    noising = cells(tiny, PAIR, direction="noising", sites=["attn_out"])
    denoising = cells(tiny, swapped, direction="denoising", sites=["attn_out"])
    a, b = (f[f["metric"] == "logit_diff"]["value"].to_numpy() for f in (noising, denoising))
    assert np.allclose(a, -b, atol=1e-5)
    assert np.abs(a).max() > 0


def test_all_sites_give_their_grids(tiny: Model) -> None:
    frame = cells(tiny, PAIR, sites=ALL)
    tokens, g = len(tiny.encode(PAIR.clean)), tiny.geometry
    counts = frame[frame["metric"] == "recovery"].groupby("site").size()
    assert counts["z"] == g.n_layers * g.n_heads
    assert counts["z_by_position"] == g.n_layers * g.n_heads * tokens
    assert all(counts[site] == g.n_layers * tokens for site in ALL[:5])
    assert frame["value"].notna().all()


def test_interval_over_a_set_and_none_for_one_pair(tiny: Model) -> None:
    alone, both = cells(tiny, PAIR), cells(tiny, PAIR, OTHER)
    assert alone["low"].isna().all()
    assert not alone["distinguishable"].any()
    assert (both["low"] <= both["value"] + 1e-12).all()
    assert (both["value"] <= both["high"] + 1e-12).all()
    assert (both["pairs"] == 2).all()


def test_unequal_lengths_are_compared_from_the_end(tiny: Model) -> None:
    longer = PromptPair("Then " + PAIR.clean, "Then " + PAIR.corrupted, PAIR.answer, PAIR.distractor)
    assert len(tiny.encode(longer.clean)) > len(tiny.encode(PAIR.clean))
    frame = cells(tiny, PAIR, longer)
    assert frame["position"].max() == -1
    assert frame["position"].min() == -len(tiny.encode(PAIR.clean))


def test_identical_prompts_are_refused(tiny: Model) -> None:
    same = PromptPair(PAIR.clean, PAIR.clean, PAIR.answer, PAIR.distractor)
    with pytest.raises(InputError, match="nothing to patch"):
        cells(tiny, same)


def test_unknown_layer_names_the_range(tiny: Model) -> None:
    with pytest.raises(InputError, match="valid layers are 0 to 2"):
        cells(tiny, PAIR, layers=[3])


def test_top_tokens_of_a_cell_follow_the_patch(tiny: Model) -> None:
    (differs,) = align(tiny, PAIR).differing
    frame = patched_top_tokens(tiny, Inputs(pairs=(PAIR,)), PatchingSpec(), Site(0, "resid_pre", None, differs))
    assert np.allclose(frame["patched"], frame["clean"], atol=1e-5)
    assert not np.allclose(frame["corrupted"], frame["clean"], atol=1e-3)


def test_whole_grid_equals_transformer_lens(tiny: Model) -> None:
    from transformer_lens import patching

    aligned = align(tiny, PAIR)
    clean, corrupted = (torch.tensor([ids]) for ids in (aligned.clean_ids, aligned.corrupted_ids))
    _, cache = tiny.bridge.run_with_cache(clean)

    def difference(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, aligned.answer_id] - logits[0, -1, aligned.distractor_id]

    for site, theirs in (
        ("resid_pre", patching.get_act_patch_resid_pre),
        ("attn_out", patching.get_act_patch_attn_out),
        ("mlp_out", patching.get_act_patch_mlp_out),
    ):
        frame = cells(tiny, PAIR, sites=[site])
        ours = (
            frame[frame["metric"] == "logit_diff"].pivot(index="layer", columns="position", values="value").to_numpy()
        )
        expected = theirs(tiny.bridge, corrupted, cache, difference).detach().numpy()
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() < 1e-4, site
