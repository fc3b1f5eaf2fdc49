"""Interventions: each by hand on small tensors; what does not fit is refused."""

from __future__ import annotations

import pytest
import torch

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Add, Clamp, Freeze, Intervention, Mask, Mean, Patch, ReplacePattern, Scale, Zero
from hooks.model import Model
from hooks.sites import DERIVED_KINDS, Site

VECTOR = Site(0, "resid_pre")
X = torch.tensor([[[1.0, -2.0], [3.0, 4.0], [-5.0, 6.0]]])


def by_hand(intervention: Intervention, expected: list[list[float]]) -> None:
    before = X.clone()
    assert torch.equal(intervention.edited(X), torch.tensor([expected]))
    assert torch.equal(before, X), "an intervention must leave its input alone"


def test_patch() -> None:
    by_hand(Patch(VECTOR, torch.full((1, 3, 2), 7.0)), [[7, 7], [7, 7], [7, 7]])
    by_hand(Patch(Site(0, "resid_pre", position=1), torch.full((1, 1, 2), 7.0)), [[1, -2], [7, 7], [-5, 6]])


def test_freeze_and_mean_are_patches() -> None:
    by_hand(Freeze(Site(0, "resid_pre", position=-1), torch.zeros(1, 1, 2)), [[1, -2], [3, 4], [0, 0]])
    by_hand(Mean(VECTOR, X.mean(dim=1, keepdim=True)), [[-1 / 3, 8 / 3]] * 3)


def test_add() -> None:
    by_hand(Add(Site(0, "resid_pre", position=(0, 2)), torch.tensor([1.0, 10.0]), 0.5), [[1.5, 3], [3, 4], [-4.5, 11]])


def test_scale() -> None:
    by_hand(Scale(Site(0, "resid_pre", position=0), -2.0), [[-2, 4], [3, 4], [-5, 6]])


def test_zero() -> None:
    by_hand(Zero(Site(0, "resid_pre", position=2)), [[1, -2], [3, 4], [0, 0]])


def test_clamp() -> None:
    by_hand(Clamp(VECTOR, -1.0, 3.5), [[1, -1], [3, 3.5], [-1, 3.5]])
    by_hand(Clamp(VECTOR, -1.0, 3.5, channel=1), [[1, -1], [3, 3.5], [-5, 3.5]])


def test_mask_hides_keys_from_the_chosen_query_and_head() -> None:
    scores = torch.zeros(1, 2, 3, 3)
    hidden = Mask(Site(0, "attn_scores", head=1, position=2), (0, 1)).edited(scores)
    expected = scores.clone()
    expected[0, 1, 2, :2] = float("-inf")
    assert torch.equal(hidden, expected)
    assert hidden[0, 1, 2].softmax(-1).tolist() == [0.0, 0.0, 1.0]


def test_replace_pattern_of_one_head() -> None:
    pattern = torch.full((1, 2, 2, 2), 0.5)
    replaced = ReplacePattern(Site(0, "pattern", head=0), torch.eye(2)).edited(pattern)
    assert torch.equal(replaced, torch.stack([torch.eye(2), torch.full((2, 2), 0.5)])[None])


def test_a_value_of_one_row_reaches_the_whole_batch() -> None:
    assert torch.equal(Patch(VECTOR, X).edited(torch.zeros(4, 3, 2)), X.expand(4, 3, 2))


@pytest.mark.parametrize(
    ("intervention", "says"),
    [
        (Patch(VECTOR, torch.zeros(1, 2, 2)), r"Patch at resid_pre L0 does not fit the selected shape \(1, 3, 2\)"),
        (Add(VECTOR, torch.zeros(5)), r"Add at resid_pre L0 does not fit"),
        (Clamp(VECTOR, 0.0, 1.0, channel=2), r"Clamp at resid_pre L0 does not fit"),
        (Zero(Site(0, "resid_pre", position=3)), "position 3 of resid_pre L0 does not exist: valid are 0 to 2"),
        (Zero(Site(0, "resid_pre", position=(0, -4))), "position -4"),
    ],
)
def test_what_does_not_fit_is_refused(intervention: Intervention, says: str) -> None:
    with pytest.raises(InputError, match=says):
        intervention.edited(X)


def test_masking_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="Mask at L0H0 attn_scores does not fit"):
        Mask(Site(0, "attn_scores", head=0), (3,)).edited(torch.zeros(1, 2, 3, 3))


def test_mask_and_replace_pattern_want_their_own_sites(tiny: Model, draw) -> None:
    with pytest.raises(InputError, match="Mask needs a site of kind 'attn_scores', not 'z'"):
        tiny.logits(draw(tiny), [Mask(Site(0, "z"), (0,))])
    with pytest.raises(InputError, match="ReplacePattern needs a site of kind 'pattern', not 'attn_scores'"):
        tiny.logits(draw(tiny), [ReplacePattern(Site(0, "attn_scores"), torch.eye(7))])


def test_patching_a_state_onto_itself_changes_nothing(any_tiny: Model, draw, sites_of) -> None:
    ids = draw(any_tiny, 2, 6)
    for site in (s for s in sites_of(any_tiny.geometry) if s.kind not in DERIVED_KINDS):
        cache = run_with_cache(any_tiny, ids, [site])
        # Captured and patched in the same lane: a pattern tap writes the softmax out, others do not.
        again = any_tiny.logits(ids, [Patch(site, cache[site])])
        assert torch.equal(again, cache.logits), site.name


def test_interventions_on_one_site_apply_in_order(tiny: Model, draw) -> None:
    ids, site = draw(tiny), Site(1, "z")
    ones = torch.ones(tiny.geometry.d_head)
    z = run_with_cache(tiny, ids, [site])[site]
    seen = run_with_cache(tiny, ids, [site], [Scale(site, 2.0), Add(site, ones)])[site]
    assert torch.equal(seen, z * 2 + 1)
    seen = run_with_cache(tiny, ids, [site], [Add(site, ones), Scale(site, 2.0)])[site]
    assert torch.equal(seen, (z + 1) * 2)
