"""Statistics of parts of the keys, put together, are those of all keys."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import pytest
import torch

from kernels.attention_stats import attention_stats, bench, merge

N_QUERY, N_KEY = 45, 61
INPUTS = bench.problem(N_QUERY, N_KEY, batch=2, heads=4, kv_heads=2, d_head=16, exact=False)
SPANS = torch.rand(2, 3, N_KEY, generator=torch.Generator().manual_seed(2)) < 0.3
ASKED = {"offset": N_KEY - N_QUERY, "recency": (3, 30), "top_k": 4}


def part(first: int, last: int, backend: str = "auto", **scoring):
    keys = slice(first, last)
    return attention_stats(
        INPUTS["q"], INPUTS["k"][:, :, keys], INPUTS["v"][:, :, keys], spans=SPANS[:, :, keys], first_key=first,
        partial=True, backend=backend, **ASKED, **scoring,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["naive", "streamed", "auto"])
@pytest.mark.parametrize("cuts", [(0, 20, 61), (0, 4, 8, 40, 57, 61), (0, 57, 61)], ids=["two", "five", "late"])
@pytest.mark.parametrize("window", [None, 9], ids=["all", "window"])
def test_parts_make_the_whole(backend: str, cuts: tuple[int, ...], window: int | None) -> None:
    """Some queries see nothing of the later parts, and with a window nothing of the earlier ones."""
    parts = [part(first, last, backend, window=window) for first, last in pairwise(cuts)]
    whole = attention_stats(**INPUTS, spans=SPANS, **ASKED, window=window, backend="naive")
    assert bench.disagreement(reduce(merge, parts), whole) == ""
    assert bench.disagreement(reduce(lambda a, b: merge(b, a), parts), whole) == "", "in any order"


@pytest.mark.parametrize("backend", ["naive", "streamed", "auto"])
def test_a_part_that_nobody_sees(backend: str) -> None:
    found = attention_stats(**INPUTS, offset=0, first_key=N_QUERY, partial=True, top_k=2, backend=backend)
    assert found.log_sum_exp.eq(float("-inf")).all()
    assert found.max_key.eq(-1).all()
    assert found.top_keys.eq(-1).all()
    for name in ("out", "entropy", "max_weight", "distance_mean", "distance_variance", "top_weights", "residual_mass"):
        assert getattr(found, name).eq(0).all(), name
    assert bench.disagreement(merge(found, found), found) == ""


def test_packed_parts() -> None:
    """Segments of a part, with the queries' own ids."""
    ids = torch.tensor([[1] * 25 + [2] * 36, [5] * 61])
    own = ids[:, N_KEY - N_QUERY :]
    parts = [part(a, b, segments=ids[:, a:b], query_segments=own) for a, b in ((0, 30), (30, 61))]
    whole = attention_stats(**INPUTS, spans=SPANS, **ASKED, segments=ids, backend="naive")
    assert bench.disagreement(merge(*parts), whole) == ""


def test_backends_are_named() -> None:
    assert merge(part(0, 30, "naive"), part(30, 61, "streamed")).backend == "naive+streamed"


def test_refuses() -> None:
    whole = attention_stats(**INPUTS, forgetting=0.5)
    with pytest.raises(ValueError, match="key masses of parts cannot be merged"):
        merge(whole, whole)
    with pytest.raises(ValueError, match=r"different calls cannot be merged: span_mass is \(2, 4, 45, 3\)"):
        merge(part(0, 30), attention_stats(**INPUTS))


def test_a_wrong_weight_would_show() -> None:
    """Merging a part with itself counts its keys twice; the comparison must say so."""
    twice = merge(part(0, 30), part(0, 30))
    assert bench.disagreement(twice, part(0, 30)) != ""
