"""The rules written out cell by cell, so that the shared definition of a score is itself compared with something."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kernels.attention_rows import attention_rows
from kernels.attention_stats import attention_stats, bench
from kernels.attention_stats.scores import Rule

N_QUERY, N_KEY = 9, 14
INPUTS = bench.problem(N_QUERY, N_KEY, heads=4, kv_heads=2, d_head=8, exact=False)
IDS = [4] * 6 + [2] * 1 + [9] * 7
SLOPES = [0.5, 0.25, 0.1, 0.0]

RULES = {
    "default": ({}, lambda i, j: j <= i),
    "both ways": ({"causal": False}, lambda i, j: True),
    "window": ({"window": 3}, lambda i, j: i - 3 < j <= i),
    "window both ways": ({"window": 3, "causal": False}, lambda i, j: abs(i - j) < 3),
    "packed": ({"segments": torch.tensor([IDS])}, lambda i, j: j <= i and IDS[i] == IDS[j]),
    "packed both ways": ({"segments": torch.tensor([IDS]), "causal": False}, lambda i, j: IDS[i] == IDS[j]),
}


@pytest.mark.parametrize("backend", ["naive", "streamed", "auto"])
@pytest.mark.parametrize("name", RULES)
def test_who_sees_whom(name: str, backend: str) -> None:
    """The queries are the last of the keys: query 0 is at position 5."""
    scoring, sees = RULES[name]
    mask = torch.tensor([[sees(query + 5, key) for key in range(N_KEY)] for query in range(N_QUERY)])
    q, k, v = INPUTS.values()
    wanted = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    found = attention_stats(q, k, v, **scoring, spans=torch.ones(1, 1, N_KEY).bool(), backend=backend)
    torch.testing.assert_close(found.out, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.span_visible[0, :, 0], mask.sum(-1))
    rows = attention_rows(q, k, queries=range(N_QUERY), **scoring)
    assert torch.equal(rows > 0, mask.expand_as(rows))


@pytest.mark.parametrize("backend", ["naive", "streamed", "auto"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both-ways"])
def test_scores_by_hand(backend: str, causal: bool) -> None:
    """cap·tanh(scale·q·k / cap) − slope·distance, one cell at a time in fp64."""
    q, k, v = INPUTS.values()
    wanted = torch.full((4, N_QUERY, N_KEY), -math.inf, dtype=torch.float64)
    for head in range(4):
        for query in range(N_QUERY):
            for key in range(query + 6 if causal else N_KEY):
                product = float(q[0, head, query].double() @ k[0, head // 2, key].double())
                wanted[head, query, key] = 2.0 * math.tanh(0.7 * product / 2.0) - SLOPES[head] * abs(query + 5 - key)
    scoring = {"scale": 0.7, "soft_cap": 2.0, "alibi": torch.tensor(SLOPES), "causal": causal}
    found = attention_stats(q, k, v, **scoring, backend=backend)
    torch.testing.assert_close(found.log_sum_exp[0].double(), wanted.logsumexp(-1), rtol=1e-5, atol=1e-5)
    values = v[0].double().repeat_interleave(2, dim=0)
    torch.testing.assert_close(found.out[0].double(), wanted.softmax(-1) @ values, rtol=1e-5, atol=1e-5)
    rows = attention_rows(q, k, queries=range(N_QUERY), **scoring)
    torch.testing.assert_close(rows[0].double(), wanted.softmax(-1), rtol=1e-5, atol=1e-6)


def test_later_queries_are_counted_in_their_segment() -> None:
    q, k, _ = INPUTS.values()
    assert Rule.of(q, k).decay_steps.tolist() == [[8, 7, 6, 5, 4, 3, 2, 1, 0]]
    assert Rule.of(q, k, segments=torch.tensor([IDS])).decay_steps.tolist() == [[0, 0, 6, 5, 4, 3, 2, 1, 0]]


def test_recency_is_counted_by_hand() -> None:
    """Position 5 sees keys 0 to 5; nearer than 3 are 3, 4 and 5. In segment [6] it is alone."""
    found = attention_stats(**INPUTS, recency=(1, 3, 50), segments=torch.tensor([IDS]))
    assert found.recency_visible[0, 0].tolist() == [1, 3, 6]
    assert found.recency_visible[0, 1].tolist() == [1, 1, 1]
    torch.testing.assert_close(found.recency_mass[..., 2], torch.ones(1, 4, N_QUERY))
