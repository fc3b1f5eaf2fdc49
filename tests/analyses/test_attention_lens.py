"""The attention lens: before fitting it is the logit lens of the heads' sum, and its heads sum to what is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._plots import glyphs
from analyses._trained_lenses.options import TRIALS
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.translators import Affine
from analyses.attention_lens import ANALYSIS, AttentionLensSpec
from analyses.attention_lens.heads import head_logits_states, head_parts
from data.prompt_sets import generate
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.in_memory import Kept, one

TEXTS = Inputs(texts=tuple(TRIALS[0]["texts"]))
QUICK = {"steps": 6, "batch": 8, "length": 12}


def test_before_fitting_it_is_the_logit_lens_of_the_heads_sum(any_tiny: Model) -> None:
    prompt = "Mary saw the park near"
    spec = AttentionLensSpec(start="identity", drawn=12, **QUICK | {"steps": 0})
    frames = ANALYSIS.run(any_tiny, Inputs(prompt=prompt), spec, Context())
    for layer in range(any_tiny.geometry.n_layers):
        cache = run_with_cache(any_tiny, any_tiny.tokens(prompt), [Site(layer, "result")])
        total = cache[Site(layer, "result")][0].sum(dim=1)
        logits = any_tiny.final_norm(total) @ any_tiny.W_U + (0.0 if any_tiny.b_U is None else any_tiny.b_U)
        for lens in ("attention lens", "logit lens of the heads"):
            cells = one(frames["cells"], lens=lens, layer=layer)
            probability, top = logits.softmax(-1).max(-1)
            assert cells["top_id"].tolist() == top.tolist()
            assert np.allclose(cells["probability"], probability.numpy(), atol=1e-5)
    plain, fitted = (one(frames["heads"], lens=lens) for lens in ("logit lens of the heads", "attention lens"))
    assert plain["top_id"].tolist() == fitted["top_id"].tolist()


def test_heads_sum_to_the_stream_that_is_read_but_for_the_bias(any_tiny: Model) -> None:
    geometry, random = any_tiny.geometry, torch.Generator().manual_seed(0)
    z = torch.randn(5, geometry.n_heads, geometry.d_head, generator=random)
    lens = Affine(torch.randn(geometry.n_heads * geometry.d_head, geometry.d_model, generator=random),
                  torch.randn(geometry.d_model, generator=random))  # fmt: skip
    parts, stream = head_parts(any_tiny, 1, z, lens)
    assert torch.allclose(parts.sum(1) + lens.bias, stream, atol=1e-4)
    x = z.flatten(1)
    base = x @ any_tiny.W_O(1).flatten(0, 1)
    assert torch.allclose(stream, lens(base, x), atol=1e-3)
    readout, norm = Readout.of(any_tiny), any_tiny.norm(None)
    shares = head_logits_states(readout, parts, stream).sum(1) + norm.linear(lens.bias, norm.scale(stream))
    whole = readout.normed(stream) - (0.0 if norm.bias is None else norm.bias)
    assert torch.allclose(shares, whole, atol=1e-3)


def test_held_out_it_is_nearer_than_before_fitting(real: Model) -> None:
    texts = generate("domains", real, limit=12, seed=0)
    inputs = Inputs(texts=texts.texts, labels=texts.labels)
    spec = AttentionLensSpec(layers=(20,), steps=4, batch=16, length=24)
    scores = ANALYSIS.run(real, inputs, spec, Context())["scores"]
    fitted = one(scores, lens="attention lens").iloc[0]
    assert fitted["gain_low"] > 0
    assert fitted["kl"] < one(scores, lens="logit lens of the heads")["kl"].iloc[0]


def test_a_kept_lens_is_read_head_by_head_and_refused_where_it_does_not_fit(tiny: Model) -> None:
    kept, prompt = Kept(), Inputs(prompt="Mary saw the park")
    ANALYSIS.run(tiny, TEXTS, AttentionLensSpec(keep_as="heads", layers=(1,), **QUICK), kept.context())
    frames = ANALYSIS.run(tiny, prompt, AttentionLensSpec(lens="heads"), kept.using("heads"))
    assert set(frames["heads"]["layer"]) == {1}
    assert len(frames["heads"]) == 2 * tiny.geometry.n_heads * len(tiny.encode(str(prompt.prompt)))
    with pytest.raises(InputError, match="no translator for layer 0"):
        ANALYSIS.run(tiny, prompt, AttentionLensSpec(lens="heads", layers=(0,)), kept.using("heads"))
    with pytest.raises(InputError, match="layer = 1: the layers that are read are 0, 2"):
        ANALYSIS.check(tiny, TEXTS, AttentionLensSpec(layers=(0, 2), layer=1, **QUICK))
    figures = ANALYSIS.figures(frames, AttentionLensSpec(lens="heads"))
    drawn, tokens = figures["head_tokens"].layout.meta, len(tiny.encode(str(prompt.prompt)))
    assert "layer 1" in drawn["title"]
    # The fewer stand side by side, so that words have room: here tokens are as many as heads.
    assert (tokens, drawn["x_title"]) == (tiny.geometry.n_heads, "position and token read")
    longer = Inputs(prompt="Mary saw the park near the river")
    frames = ANALYSIS.run(tiny, longer, AttentionLensSpec(lens="heads"), kept.using("heads"))
    drawn = ANALYSIS.figures(frames, AttentionLensSpec(lens="heads"))["head_tokens"].layout.meta
    assert (drawn["x_title"], list(drawn["x_labels"])) == ("head", ["0", "1", "2", "3"])
    top = one(frames["heads"], lens="attention lens", position=0).sort_values("head")["top"]
    assert drawn["words"][-1] == [glyphs(word) for word in top], "the first token stands on top"
    assert drawn["y_labels"][-1].startswith("0 ")
