"""Every version of the attention statistics against the definition, against SDPA and against cases done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kernels._compiled import why_not
from kernels.attention_stats import attention_stats, bench, compiled

COMPILED = pytest.param(
    "compiled", marks=pytest.mark.skipif(bool(why_not(compiled.SOURCE)), reason="needs a C compiler")
)
FAST = pytest.mark.parametrize("backend", ["streamed", COMPILED])
ALL = pytest.mark.parametrize("backend", ["naive", "streamed", COMPILED])


def given(n_query: int, n_key: int, d_head: int = 16, *, batch: int = 2, heads: int = 4, kv_heads: int = 2, **more):
    """Inputs on a grid: scores are the same in any order of summation, and many are equal."""
    return bench.problem(n_query, n_key, batch=batch, heads=heads, kv_heads=kv_heads, d_head=d_head, **more)


def marked(n_key: int, batch: int = 2) -> torch.Tensor:
    """One key, none, all, a middle stretch, and scattered ones that overlap with the others."""
    spans = torch.zeros(batch, 5, n_key, dtype=torch.bool)
    spans[:, 0, 0] = spans[:, 2] = spans[:, 3, n_key // 3 : n_key // 2 + 1] = True
    spans[:, 4] = torch.rand(batch, n_key, generator=torch.Generator().manual_seed(1)) < 0.4
    return spans


def same(backend: str, wanted_from: dict, **asked) -> None:
    block = {"queries": 32, "keys": 48} if backend == "streamed" else {}
    found = attention_stats(**wanted_from, **asked, **block, backend=backend)
    assert found.backend == backend
    assert bench.disagreement(found, attention_stats(**wanted_from, **asked, backend="naive")) == ""


@FAST
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    ("n_query", "n_key", "d_head"),
    [(1, 1, 1), (1, 130, 7), (3, 3, 64), (17, 40, 16), (127, 130, 13), (130, 130, 80), (300, 517, 4)],
)
def test_is_the_definition(backend: str, dtype: torch.dtype, n_query: int, n_key: int, d_head: int) -> None:
    asked = {"spans": marked(n_key), "recency": (1, 5, 200), "top_k": min(9, n_key), "forgetting": 0.97}
    same(backend, given(n_query, n_key, d_head, dtype=dtype), **asked)


@FAST
@pytest.mark.parametrize(
    "scoring",
    [
        {"causal": False},
        {"causal": False, "window": 9},
        {"window": 1},
        {"window": 33},
        {"scale": 0.25, "alibi": torch.tensor([1.0, 0.5, 0.25, 0.125])},
        {"scale": 0.5, "soft_cap": 8.0},
        {"offset": 3},
        {"segments": torch.tensor([[7] * 30 + [2] * 1 + [5] * 49, [1] * 80])},
        {"segments": torch.tensor([[0] * 13 + [1] * 67, [4] * 40 + [3] * 40]), "window": 6, "causal": False},
    ],
    ids=[
        "both-ways",
        "both-ways-window",
        "itself-only",
        "window",
        "alibi",
        "soft-cap",
        "early",
        "packed",
        "packed-window",
    ],
)
def test_every_rule(backend: str, scoring: dict) -> None:
    asked = {"spans": marked(80), "recency": (4, 64), "top_k": 17, "forgetting": 0.5}
    same(backend, given(50, 80, exact="soft_cap" not in scoring), **asked, **scoring)


@ALL
def test_by_hand(backend: str) -> None:
    """Keys 0, log 2 and log 4 above each other: weights 1/7, 2/7, 4/7 for the last query."""
    k = torch.tensor([0.0, math.log(2), math.log(4)])[None, None, :, None]
    v = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])[None, None]
    spans = torch.tensor([[[True, False, True], [False, False, False]]])
    found = attention_stats(
        torch.ones(1, 1, 1, 1), k, v, scale=1.0, spans=spans, recency=(1, 2), top_k=2, forgetting=0.3, backend=backend
    )
    one = [1 / 7, 2 / 7, 4 / 7]
    torch.testing.assert_close(found.out.flatten(), torch.tensor(one[:2]))
    assert found.log_sum_exp.item() == pytest.approx(math.log(7))
    assert found.entropy.item() == pytest.approx(-sum(p * math.log(p) for p in one))
    assert (found.max_weight.item(), found.max_key.item()) == (pytest.approx(4 / 7), 2)
    assert found.distance_mean.item() == pytest.approx(4 / 7)
    assert found.distance_variance.item() == pytest.approx(6 / 7 - 16 / 49, abs=1e-6)
    assert found.span_mass.flatten().tolist() == [pytest.approx(5 / 7), 0.0]
    assert found.span_mean.flatten().tolist() == [pytest.approx(5 / 14), 0.0]
    assert found.recency_mass.flatten().tolist() == pytest.approx([4 / 7, 6 / 7])
    assert found.recency_mean.flatten().tolist() == pytest.approx([4 / 7, 3 / 7])
    assert found.top_keys.flatten().tolist() == [2, 1]
    assert found.top_weights.flatten().tolist() == pytest.approx([4 / 7, 2 / 7])
    assert found.residual_mass.item() == pytest.approx(1 / 7)
    assert found.key_mass is not None
    assert found.key_mass.flatten().tolist() == pytest.approx(one)


@ALL
def test_output_is_sdpa(backend: str) -> None:
    q, k, v = given(90, 90, 24, exact=False).values()
    wanted = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(attention_stats(q, k, v, backend=backend).out, wanted, rtol=1e-5, atol=1e-5)


@ALL
def test_uniform_attention_looks_back_evenly(backend: str) -> None:
    """Lookback ratio of means is 1/2 whatever the lengths; entropy is the log of how many keys are seen."""
    n_key = 70
    spans = torch.zeros(1, 2, n_key, dtype=torch.bool)
    spans[0, 0, :13] = spans[0, 1, 13:] = True
    q = torch.zeros(1, 2, n_key, 8)
    found = attention_stats(q, q, q, spans=spans, disjoint=True, top_k=3, backend=backend)
    context, fresh = found.span_mean[:, :, 13:].unbind(-1)
    torch.testing.assert_close(context / (context + fresh), torch.full_like(context, 0.5))
    torch.testing.assert_close(found.entropy, torch.arange(1, n_key + 1).log().expand(1, 2, -1), rtol=0, atol=1e-5)
    assert found.max_key.eq(0).all(), "equal weights: the lowest key"
    assert found.top_keys[0, 0, -1].tolist() == [0, 1, 2]
    assert found.top_keys[0, 0, 1].tolist() == [0, 1, -1], "two keys are visible to the second query"
    assert found.top_weights[0, 0, 1, 2].item() == 0


@ALL
def test_key_mass_is_the_recurrence(backend: str) -> None:
    inputs, alpha = given(21, 33, exact=False), 0.8
    found = attention_stats(**inputs, forgetting=alpha, backend=backend)
    total = torch.zeros(2, 4, 33)
    for query in range(21):
        one = {"q": inputs["q"][:, :, query : query + 1], "k": inputs["k"], "v": inputs["v"]}
        total = alpha * total + attention_stats(**one, offset=12 + query, forgetting=1.0, backend="naive").key_mass
    torch.testing.assert_close(found.key_mass, total, rtol=1e-5, atol=1e-6)


@ALL
def test_packed_texts_are_alone(backend: str) -> None:
    """Two texts in a row, with statistics as if each had a row of its own."""
    inputs = given(40, 40, batch=1)
    ids = torch.tensor([[3] * 15 + [1] * 25])
    asked = {"recency": (4,), "top_k": 3, "backend": backend}
    packed = attention_stats(**inputs, **asked, segments=ids, forgetting=0.9)
    for first, last in ((0, 15), (15, 40)):
        alone = attention_stats(**{n: x[:, :, first:last] for n, x in inputs.items()}, **asked, forgetting=0.9)
        for name in ("out", "log_sum_exp", "entropy", "distance_mean", "recency_mass", "top_weights"):
            torch.testing.assert_close(getattr(packed, name)[:, :, first:last], getattr(alone, name))
        torch.testing.assert_close(packed.key_mass[:, :, first:last], alone.key_mass)
        there = alone.top_keys >= 0
        assert torch.equal(packed.top_keys[:, :, first:last][there], alone.top_keys[there] + first)


@FAST
def test_any_strides(backend: str) -> None:
    inputs = given(33, 61)
    apart = {name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in inputs.items()}
    apart["v"] = inputs["v"].mT.contiguous().mT
    apart["k"] = torch.stack([inputs["k"], inputs["k"]], dim=-1).flatten(-2)[..., ::2]
    assert not any(x.is_contiguous() for x in apart.values())
    found, wanted = (attention_stats(**x, top_k=4, backend=backend) for x in (apart, inputs))
    assert bench.disagreement(found, wanted, 0.0) == ""


@FAST
@pytest.mark.parametrize("size", [0.01, 30.0], ids=["flat", "peaked"])
def test_flat_and_peaked(backend: str, size: float) -> None:
    """A peak that moves in every block, weights that underflow, and a distance variance near zero."""
    inputs = given(200, 700, exact=False)
    inputs["k"] = inputs["k"] * torch.linspace(0.1, 1.0, 700)[:, None]
    same(backend, inputs | {"q": inputs["q"] * size}, recency=(1, 64), spans=marked(700))
