"""Capture: every site equals TransformerLens' activation, and nothing stays hooked whatever happens."""

from __future__ import annotations

import pytest
import torch
from einops import einsum, repeat
from torch import Tensor, nn

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch, Scale, Zero
from hooks.model import Model
from hooks.sites import PATTERN_KINDS, Site

UNNAMED_IN_THE_BRIDGE = {"rot_q", "rot_k", "result"}
"""Sites that the bridge does not offer for every family; they are tested by their algebra below."""


def hook_count(module: nn.Module) -> int:
    """Hooks and attention taps on any submodule."""
    parts = list(module.modules())
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)
    return hooks + sum(hasattr(part, "interp_taps") for part in parts)


def test_every_site_equals_the_bridge(any_tiny: Model, draw, sites_of) -> None:
    ids = draw(any_tiny, 2, 8)
    sites = sites_of(any_tiny.geometry)
    ours = run_with_cache(any_tiny, ids, sites)
    logits, theirs = any_tiny.bridge.run_with_cache(ids)
    torch.testing.assert_close(ours.logits, logits, atol=1e-4, rtol=1e-4)
    missing = {site.kind for site in sites if site.name not in theirs}
    assert missing <= UNNAMED_IN_THE_BRIDGE
    for site in (site for site in sites if site.name in theirs):
        one, other = ours[site], theirs[site.name]
        if site.kind in PATTERN_KINDS:
            # What is masked is −∞ here and may be the least finite number there; neither is seen by anyone.
            one, other = one.tril(), other.tril()
        torch.testing.assert_close(
            one.float(), other.float(), atol=2e-5, rtol=1e-4, msg=lambda m, s=site: f"{s.name}: {m}"
        )


def test_scores_are_rotated_queries_times_rotated_keys(any_tiny: Model, draw) -> None:
    geometry = any_tiny.geometry
    rot_q, rot_k, scores, pattern = sites = [Site(1, kind) for kind in ("rot_q", "rot_k", "attn_scores", "pattern")]
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 6), sites)
    keys = repeat(cache[rot_k], "b p group d -> b p (group queries) d", queries=geometry.queries_per_group)
    expected = einsum(cache[rot_q], keys, "b dst head d, b src head d -> b head dst src") * geometry.d_head**-0.5
    torch.testing.assert_close(cache[scores].tril(), expected.tril(), atol=1e-5, rtol=1e-4)
    assert (cache[scores] == float("-inf")).equal(torch.ones_like(cache[scores]).triu(1).bool())
    torch.testing.assert_close(cache[pattern], cache[scores].softmax(-1))


def test_gpt2_has_nothing_to_rotate(any_tiny: Model, draw) -> None:
    q, rot_q = Site(0, "q"), Site(0, "rot_q")
    cache = run_with_cache(any_tiny, draw(any_tiny, 1, 6), [q, rot_q])
    assert torch.equal(cache[q], cache[rot_q]) == (any_tiny.geometry.family == "gpt2")


def test_capturing_does_not_change_the_logits(any_tiny: Model, draw, sites_of) -> None:
    ids = draw(any_tiny, 2, 8)
    untouched = any_tiny.logits(ids)
    quiet = [s for s in sites_of(any_tiny.geometry) if s.kind not in PATTERN_KINDS]
    assert torch.equal(run_with_cache(any_tiny, ids, quiet).logits, untouched)
    torch.testing.assert_close(run_with_cache(any_tiny, ids, sites_of(any_tiny.geometry)).logits, untouched)


def test_last_only_is_the_last_row(any_tiny: Model, draw) -> None:
    ids = draw(any_tiny, 2, 8)
    last = any_tiny.logits(ids, last_only=True)
    assert last.shape[1] == 1
    torch.testing.assert_close(last, any_tiny.logits(ids)[:, -1:])


def test_a_cache_slices_head_and_position(tiny: Model, draw) -> None:
    z = Site(1, "z")
    cache = run_with_cache(tiny, draw(tiny, 2, 6), [z])
    assert torch.equal(cache[Site(1, "z", head=2)], cache[z][:, :, 2])
    assert torch.equal(cache[Site(1, "z", head=2, position=-1)], cache[z][:, [5], 2])
    assert torch.equal(cache[Site(1, "z", position=(0, 4))], cache[z][:, [0, 4]])


def test_a_cache_says_what_it_holds(tiny: Model, draw) -> None:
    cache = run_with_cache(tiny, draw(tiny), [Site(0, "z")])
    with pytest.raises(
        InputError, match=r"blocks\.1\.attn\.hook_z was not captured; captured: blocks\.0\.attn\.hook_z"
    ):
        _ = cache[Site(1, "z")]


def test_capture_sees_the_edited_value(any_tiny: Model, draw, sites_of) -> None:
    ids = draw(any_tiny, 1, 6)
    editable = [
        Site(1, kind) for kind in ("resid_pre", "attn_out", "z", "q", "k", "v", "mlp_pre", "mlp_post", "mlp_out")
    ]
    editable += [] if any_tiny.geometry.parallel_blocks else [Site(1, "resid_mid")]
    for site in editable:
        assert not run_with_cache(any_tiny, ids, [site], [Zero(site)])[site].any(), site.name


def test_an_earlier_capture_is_not_changed_by_a_later_edit(any_tiny: Model, draw) -> None:
    if any_tiny.geometry.parallel_blocks:
        pytest.skip("parallel blocks have no resid_mid, the one site that is written in place")
    ids = draw(any_tiny, 1, 6)
    before = [Site(1, "resid_pre"), Site(1, "attn_out")]
    plain = run_with_cache(any_tiny, ids, before)
    edited = run_with_cache(any_tiny, ids, before, [Scale(Site(1, "resid_mid"), 3.0)])
    assert all(torch.equal(plain[site], edited[site]) for site in before)


@pytest.mark.parametrize("kind", ["resid_pre", "z", "q", "v", "pattern", "resid_post"])
def test_taps_are_removed_after_an_exception(any_tiny: Model, draw, sites_of, kind: str) -> None:
    ids = draw(any_tiny, 1, 6)
    untouched = any_tiny.logits(ids)
    before = hook_count(any_tiny.module)
    broken = Patch(Site(1, kind), torch.zeros(3, 1, 1, 999))
    with pytest.raises(InputError, match=f"Patch at {Site(1, kind).label}"):
        run_with_cache(any_tiny, ids, sites_of(any_tiny.geometry), [Scale(Site(0, "pattern"), 2.0), broken])
    assert hook_count(any_tiny.module) == before
    assert torch.equal(any_tiny.logits(ids), untouched)


def test_taps_are_removed_after_a_run(any_tiny: Model, draw, sites_of) -> None:
    ids = draw(any_tiny, 1, 6)
    untouched, before = any_tiny.logits(ids), hook_count(any_tiny.module)
    run_with_cache(any_tiny, ids, sites_of(any_tiny.geometry), [Zero(Site(0, "z", head=1)), Zero(Site(1, "pattern"))])
    assert hook_count(any_tiny.module) == before
    assert torch.equal(any_tiny.logits(ids), untouched)


@pytest.mark.parametrize("kind", ["result", "ln1_scale", "ln2_normalized", "ln_final_scale"])
def test_derived_sites_cannot_be_edited(tiny: Model, draw, kind: str) -> None:
    before = hook_count(tiny.module)
    site = Site(None if kind.startswith("ln_final") else 0, kind)
    with pytest.raises(InputError, match=f"'{kind}' is derived"):
        tiny.logits(draw(tiny), [Zero(Site(0, "z")), Zero(site)])
    assert hook_count(tiny.module) == before


@pytest.mark.parametrize("shape", [(7,), (1, 0), (1, 2, 3)])
def test_tokens_of_a_wrong_shape_are_refused(tiny: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="batch pos"):
        run_with_cache(tiny, torch.zeros(shape, dtype=torch.long))


def test_tokens_beyond_the_context_are_refused(tiny: Model) -> None:
    tokens: Tensor = torch.zeros(1, tiny.geometry.n_ctx + 1, dtype=torch.long)
    with pytest.raises(InputError, match=str(tiny.geometry.n_ctx)):
        run_with_cache(tiny, tokens)
