"""Statistics of stored vectors and the checksum of stored bytes; captures that keep the statistics alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from data.captures import CaptureWriter, open_capture
from data.store import Store
from data.vector_stats import Checksum, VectorStats, stats_in_numpy, stats_of
from hooks.errors import InputError

MODEL = {"name": "tiny", "revision": "0123"}


def values_of(prompt: int) -> dict[tuple[int | None, str], torch.Tensor]:
    generator = torch.Generator().manual_seed(prompt)
    return {(0, "resid_post"): torch.randn(2 + prompt, 8, generator=generator),
            (1, "z"): torch.randn(2 + prompt, 2, 3, generator=generator)}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("how", [stats_of, stats_in_numpy])
@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (700, 5), (130, 2, 3)], ids=str)
def test_statistics_are_those_of_the_values_as_stored(
    dtype: str, shape: tuple[int, ...], how: Callable[[torch.Tensor], VectorStats]
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    wide, found = values.flatten(1).double(), how(values)
    np.testing.assert_allclose(found.norm, wide.norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(found.mean, wide.mean(1), atol=1e-6)
    np.testing.assert_array_equal(found.max_abs, wide.abs().amax(1))
    np.testing.assert_array_equal(wide.abs()[torch.arange(len(wide)), found.argmax], wide.abs().amax(1))
    assert (found.nan_count, found.inf_count) == (0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("how", [stats_of, stats_in_numpy])
def test_every_number_that_is_not_finite_is_counted(dtype: str, how: Callable[[torch.Tensor], VectorStats]) -> None:
    values = torch.randn(600, 7)
    values[3, 2], values[3, 5], values[300, 0], values[599, 6] = math.nan, math.inf, -math.inf, -math.nan
    found = how(values.to(getattr(torch, dtype)))
    assert (found.nan_count, found.inf_count) == (2, 2)
    assert math.isnan(found.norm[3])
    assert found.max_abs[300] == math.inf
    assert np.isfinite(found.norm).sum() == 597


def test_statistics_alone_store_no_values(store: Store) -> None:
    for prompt in (0, 1):  # the second session continues the first
        for name, plan in (("full", {}), ("slim", {"keep": "statistics"})):
            values = values_of(prompt)
            values[(1, "z")][1, 1, 1] = math.inf if prompt else 1.0
            with CaptureWriter(store, name, MODEL, plan) as writer:
                writer.add(prompt, str(prompt), [7] * (2 + prompt), ["t"] * (2 + prompt), values)
    assert [path.name for path in (store.captures / "slim").iterdir()] == [".lock"]
    both = store.query(
        "SELECT count(*) AS n, sum((a.norm = b.norm AND a.argmax = b.argmax AND a.mean = b.mean)::INT) AS same "
        "FROM token_scalars a JOIN token_scalars b USING (prompt, position, layer, site) "
        "WHERE a.capture = 'full' AND b.capture = 'slim'"
    )
    assert both["n"][0] == both["same"][0] == 10
    assert store.query("SELECT sum(inf_count) AS n FROM extents WHERE capture = 'slim'")["n"][0] == 1
    assert store.query("SELECT count(*) AS n FROM activations WHERE capture = 'slim'")["n"][0] == 0
    reader = open_capture(store, "slim")
    assert (reader.sites, reader.n_rows) == ([], 5)
    with pytest.raises(InputError, match="capture 'slim' keeps statistics only"):
        reader.layer("z", 1)


def test_a_checksum_does_not_depend_on_the_pieces() -> None:
    raw = memoryview(np.random.default_rng(0).bytes(20_011))
    whole = Checksum()
    whole.update(raw)
    for size in (1, 7, 4095, 4096, 4097):
        pieces = Checksum()
        for start in range(0, len(raw), size):
            pieces.update(raw[start : start + size])
        assert str(pieces) == str(whole)
    seen = {str(whole)}
    for place in (0, 4095, 4096, 12_345, 20_010):
        damaged = bytearray(raw)
        damaged[place] ^= 0x80
        other = Checksum()
        other.update(memoryview(damaged))
        seen.add(str(other))
    assert len(seen) == 6
