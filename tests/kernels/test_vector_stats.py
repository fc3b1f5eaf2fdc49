"""One compiled pass over every row equals the definition: odd widths, both types, NaN and infinities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kernels.vector_stats import RowStats, compiled, naive, why_not

pytestmark = pytest.mark.skipif(bool(why_not(torch.float32)), reason=f"no compiled code: {why_not(torch.float32)}")
TYPES = [torch.float32, torch.bfloat16]


def rows_of(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(width)).to(dtype)


def agree(one: RowStats, other: RowStats, rows: Tensor) -> None:
    torch.testing.assert_close(one.norm, other.norm, rtol=2e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-5, atol=2e-6, equal_nan=True)
    torch.testing.assert_close(one.max_abs, other.max_abs, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(one.argmax, other.argmax)
    assert (one.nan_count, one.inf_count) == (other.nan_count, other.inf_count)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("width", [1, 3, 15, 16, 17, 127, 130, 576])
@pytest.mark.parametrize("rows", [0, 1, 33])
def test_compiled_equals_the_definition(rows: int, width: int, dtype: torch.dtype) -> None:
    values = rows_of(rows, width, dtype)
    agree(compiled(values), naive(values), values)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_what_is_not_finite_is_counted_and_is_the_largest(dtype: torch.dtype) -> None:
    values = rows_of(6, 37, dtype)
    values[0, 3], values[1, 36], values[1, 2], values[4, 20] = -math.inf, math.inf, math.nan, math.nan
    found = compiled(values)
    agree(found, naive(values), values)
    assert (found.nan_count, found.inf_count) == (2, 2)
    assert found.argmax[[0, 1, 4]].tolist() == [3, 2, 20]


def test_a_wrong_result_would_be_noticed() -> None:
    values = rows_of(5, 17, torch.float32)
    right = naive(values)
    for wrong in (right._replace(norm=right.norm * 1.001), right._replace(argmax=right.argmax.roll(1) + 1),
                  right._replace(nan_count=1)):  # fmt: skip
        with pytest.raises(AssertionError):
            agree(compiled(values), wrong, values)


@pytest.mark.parametrize(
    "values", [torch.ones(3), torch.ones(3, 0), torch.ones(2, 3).half(), torch.ones(3, 2).T], ids=lambda v: str(v.shape)
)
def test_what_it_cannot_take_is_refused(values: Tensor) -> None:
    with pytest.raises(ValueError, match="rows must be"):
        compiled(values)
