"""Capture while generating: every step equals a plain capture of the whole text that came out."""

from __future__ import annotations

import pytest
import torch

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.generation import generate
from hooks.model import Model
from hooks.plan import CapturePlan
from hooks.sites import PATTERN_KINDS, Site


@pytest.mark.parametrize("new", [1, 6])
def test_every_step_equals_the_whole_text(any_tiny: Model, draw, sites_of, new: int) -> None:
    prompts = draw(any_tiny, 3, 5).tolist()
    sites = [site for site in sites_of(any_tiny.geometry) if site.kind not in PATTERN_KINDS] + [Site(1, "v", head=1)]
    text, values = generate(any_tiny, prompts, new, sites, torch.float32)
    assert text.shape == (3, 5 + new)
    whole = run_with_cache(any_tiny, text, sites)
    for site in sites:
        torch.testing.assert_close(values[site].float(), whole[site].float(), atol=1e-4, rtol=1e-4)


def test_the_likeliest_token_is_taken_every_time(any_tiny: Model, draw) -> None:
    text, _ = generate(any_tiny, draw(any_tiny, 2, 4).tolist(), 5, [Site(0, "z")], torch.float32)
    logits = any_tiny.logits(text)
    assert torch.equal(text[:, 4:], logits[:, 3:-1].argmax(-1))


@pytest.mark.parametrize("tokens", ["all", "last", "2:-1", "random:2"])
def test_a_plan_that_generates_numbers_the_steps(tiny: Model, draw, tokens: str) -> None:
    prompts = {index: draw(tiny, 1, n, seed=index)[0].tolist() for index, n in enumerate([3, 1, 3, 6])}
    site = Site(2, "resid_post")
    found = list(CapturePlan((site,), tokens=tokens, generate=4, row_tokens=8).run(tiny, prompts))
    assert sorted(prompt.index for prompt in found) == [0, 1, 2, 3]
    for prompt in found:
        given = prompts[prompt.index]
        assert list(prompt.token_ids[: len(given)]) == given
        assert len(prompt.token_ids) == len(given) + 4
        whole = run_with_cache(tiny, torch.tensor([prompt.token_ids]), [site])[site][0]
        torch.testing.assert_close(prompt.activations[site], whole[list(prompt.positions)], atol=1e-4, rtol=1e-4)
        assert prompt.steps == tuple(max(0, p - len(given) + 1) for p in prompt.positions)
    if tokens == "last":
        assert {prompt.steps for prompt in found} == {(4,)}


def test_what_cannot_be_continued_is_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="one length of at least 1"):
        generate(tiny, [[1, 2], [1]], 2, [Site(0, "z")], torch.float32)
    limit = tiny.geometry.n_ctx
    with pytest.raises(InputError, match=f"reads at most {limit}"):
        generate(tiny, [[1] * 5], limit, [Site(0, "z")], torch.float32)
    with pytest.raises(InputError, match=f"prompt 2 has {limit + 1} tokens"):
        CapturePlan((Site(0, "z"),), generate=limit).check(tiny, {2: [1]})
    with pytest.raises(InputError, match="generate -1"):
        CapturePlan((Site(0, "z"),), generate=-1).check(tiny)
