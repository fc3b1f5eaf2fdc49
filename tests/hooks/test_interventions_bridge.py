"""Interventions in a model equal the same edits made with TransformerLens' hooks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.interventions import Add, Clamp, Intervention, Mask, Patch, ReplacePattern, Scale, Zero
from hooks.model import Model
from hooks.sites import PATTERN_KINDS, Site

EDITABLE = ("resid_pre", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z", "mlp_pre", "mlp_post", "pattern")


def bridge_logits(model: Model, ids: Tensor, site: Site, edit: Callable[[Tensor], Tensor]) -> Tensor:
    return model.bridge.run_with_hooks(ids, fwd_hooks=[(site.name, lambda activation, hook: edit(activation.clone()))])


def everywhere(site: Site, width: int) -> list[tuple[Intervention, Callable[[Tensor], Tensor]]]:
    """Interventions on a whole site, each with what it means written out."""
    direction = torch.linspace(-1, 1, width)
    return [
        (Scale(site, 0.5), lambda x: x * 0.5),
        (Zero(site), torch.zeros_like),
        (Add(site, direction, 2.0), lambda x: x + 2.0 * direction),
        (Clamp(site, -0.1, 0.2), lambda x: x.clamp(-0.1, 0.2)),
    ]


@pytest.mark.parametrize("kind", EDITABLE)
def test_edits_equal_the_bridge(any_tiny: Model, draw, kind: str) -> None:
    ids, site = draw(any_tiny, 2, 6), Site(1, kind)
    untouched, moved = any_tiny.logits(ids), []
    for intervention, edit in everywhere(site, site.shape(any_tiny.geometry, 2, 6)[-1]):
        ours = any_tiny.logits(ids, [intervention])
        theirs = bridge_logits(any_tiny, ids, site, edit)
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4, msg=lambda m, i=intervention: f"{i}: {m}")
        moved.append(float((ours - untouched).abs().max()))
    assert max(moved) > 1e-3, "an edit that changes nothing proves nothing"


@pytest.mark.parametrize("kind", ["z", "v", "resid_pre", "pattern"])
def test_edits_of_one_head_and_position_equal_the_bridge(any_tiny: Model, draw, kind: str) -> None:
    ids = draw(any_tiny, 2, 6)
    head = None if kind == "resid_pre" else 1
    site = Site(1, kind, head=head, position=4)

    def edit(x: Tensor) -> Tensor:
        part = (slice(None), 1, 4) if kind in PATTERN_KINDS else (slice(None), 4, 1) if head else (slice(None), 4)
        x[part] = x[part] * -1.5
        return x

    ours = any_tiny.logits(ids, [Scale(site, -1.5)])
    torch.testing.assert_close(ours, bridge_logits(any_tiny, ids, site, edit), atol=2e-5, rtol=1e-4)
    assert (ours - any_tiny.logits(ids)).abs().max() > 1e-4


def test_a_patch_from_another_prompt_equals_the_bridge(any_tiny: Model, draw) -> None:
    ids, other = draw(any_tiny, 1, 6), draw(any_tiny, 1, 6, seed=1)
    for kind in EDITABLE:
        site = Site(1, kind)
        value = run_with_cache(any_tiny, other, [site])[site]
        theirs = bridge_logits(any_tiny, ids, site, lambda _, v=value: v.clone())
        torch.testing.assert_close(any_tiny.logits(ids, [Patch(site, value)]), theirs, atol=2e-5, rtol=1e-4)


def test_mask_equals_the_bridge(any_tiny: Model, draw) -> None:
    ids = draw(any_tiny, 2, 6)
    site = Site(1, "attn_scores", head=1, position=5)

    def hide(scores: Tensor) -> Tensor:
        scores[:, 1, 5, [0, 2]] = float("-inf")
        return scores

    ours = any_tiny.logits(ids, [Mask(site, (0, 2))])
    torch.testing.assert_close(ours, bridge_logits(any_tiny, ids, site, hide), atol=2e-5, rtol=1e-4)
    assert (ours - any_tiny.logits(ids)).abs().max() > 1e-4


def test_replace_pattern_equals_the_bridge(any_tiny: Model, draw) -> None:
    ids, site = draw(any_tiny, 2, 6), Site(1, "pattern")
    uniform = torch.ones(6, 6).tril().softmax(-1)
    ours = any_tiny.logits(ids, [ReplacePattern(site, uniform)])
    theirs = bridge_logits(any_tiny, ids, site, lambda pattern: uniform.expand_as(pattern).clone())
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_resid_mid_is_the_stream_itself(any_tiny: Model, draw) -> None:
    """Writing V at resid_mid is writing V − resid_pre at attn_out; the bridge's own hook reaches only ln2."""
    if any_tiny.geometry.parallel_blocks:
        pytest.skip("parallel blocks have no resid_mid")
    ids, other = draw(any_tiny, 2, 6), draw(any_tiny, 2, 6, seed=1)
    pre, mid, out = (Site(1, kind) for kind in ("resid_pre", "resid_mid", "attn_out"))
    value = run_with_cache(any_tiny, other, [mid])[mid]
    difference = value - run_with_cache(any_tiny, ids, [pre])[pre]
    ours = any_tiny.logits(ids, [Patch(mid, value)])
    torch.testing.assert_close(
        ours, bridge_logits(any_tiny, ids, out, lambda _: difference.clone()), atol=2e-5, rtol=1e-4
    )
    assert (ours - any_tiny.logits(ids)).abs().max() > 1e-3
