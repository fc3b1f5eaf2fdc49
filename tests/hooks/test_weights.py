"""Weights by name: the algebra that analyses rely on, for every family."""

from __future__ import annotations

import torch
from einops import einsum

from hooks.capture import run_with_cache
from hooks.model import Model
from hooks.sites import Site


def test_heads_sum_to_the_attention_output(any_tiny: Model, draw) -> None:
    z, result, attn_out = sites = [Site(1, kind) for kind in ("z", "result", "attn_out")]
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 6), sites)
    heads = einsum(cache[z], any_tiny.W_O(1), "b p head d_head, head d_head d_model -> b p head d_model")
    torch.testing.assert_close(cache[result], heads)
    bias = any_tiny.b_O(1)
    total = heads.sum(dim=2) + (0 if bias is None else bias)
    torch.testing.assert_close(total, cache[attn_out], atol=1e-5, rtol=1e-4)


def test_neurons_sum_to_the_mlp_output(any_tiny: Model, draw) -> None:
    post, mlp_out = sites = [Site(0, kind) for kind in ("mlp_post", "mlp_out")]
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 6), sites)
    bias = any_tiny.b_out(0)
    total = cache[post] @ any_tiny.W_out(0) + (0 if bias is None else bias)
    torch.testing.assert_close(total, cache[mlp_out], atol=1e-5, rtol=1e-4)


def test_the_stream_is_the_sum_of_its_parts(any_tiny: Model, draw) -> None:
    pre, attn, mlp, post = sites = [Site(1, kind) for kind in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 6), sites)
    torch.testing.assert_close(cache[pre] + cache[attn] + cache[mlp], cache[post], atol=1e-5, rtol=1e-4)


def test_unembedding_the_normed_stream_gives_the_logits(any_tiny: Model, draw) -> None:
    last = Site(any_tiny.geometry.n_layers - 1, "resid_post")
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 6), [last])
    bias = any_tiny.b_U
    logits = any_tiny.final_norm(cache[last]) @ any_tiny.W_U + (0 if bias is None else bias)
    torch.testing.assert_close(logits, cache.logits, atol=1e-5, rtol=1e-4)


def test_embedding_rows_are_the_tokens(any_tiny: Model, draw) -> None:
    ids = draw(any_tiny, 2, 6)
    embed = Site(None, "embed")
    assert torch.equal(run_with_cache(any_tiny, ids, [embed])[embed], any_tiny.W_E[ids])


def test_biases_are_there_exactly_where_the_family_has_them(any_tiny: Model) -> None:
    has = any_tiny.geometry.family in ("gpt2", "gpt_neox")
    assert [any_tiny.b_O(0) is not None, any_tiny.b_out(0) is not None] == [has, has]


def test_weights_are_views_not_copies(any_tiny: Model) -> None:
    ours = {p.data_ptr() for p in any_tiny.module.parameters()}
    views = [any_tiny.W_E, any_tiny.W_U, any_tiny.W_O(0), any_tiny.W_out(0)]
    assert all(view.data_ptr() in ours and not view.requires_grad for view in views)
