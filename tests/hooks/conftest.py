"""Helpers for the tests of floor 1: random token ids, and every site that a model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from hooks.geometry import Geometry
from hooks.model import Model
from hooks.sites import BLOCK_NAMES, MODEL_NAMES, Site

Draw = Callable[..., Tensor]
SitesOf = Callable[[Geometry], list[Site]]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models on one thread: handing such work to several costs ten times what it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def draw() -> Draw:
    """draw(model, batch, pos, seed): [batch pos] random token ids."""

    def ids(model: Model, batch: int = 1, pos: int = 7, seed: int = 0) -> Tensor:
        return torch.randint(0, model.geometry.d_vocab, (batch, pos), generator=torch.Generator().manual_seed(seed))

    return ids


@pytest.fixture(scope="session")
def sites_of() -> SitesOf:
    """sites_of(geometry): every whole site of such a model."""

    def every(geometry: Geometry) -> list[Site]:
        kinds = [kind for kind in BLOCK_NAMES if not (kind == "resid_mid" and geometry.parallel_blocks)]
        inside = [Site(layer, kind) for layer in range(geometry.n_layers) for kind in kinds]
        return inside + [Site(None, kind) for kind in MODEL_NAMES]

    return every
