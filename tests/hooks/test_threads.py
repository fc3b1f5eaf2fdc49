"""Two threads on one model: interventions of one never reach the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from hooks.interventions import Intervention, Scale, Zero
from hooks.model import Model
from hooks.sites import Site

RUNS = 60


def test_interventions_of_two_threads_do_not_mix(any_tiny: Model, draw) -> None:
    ids = draw(any_tiny, 1, 6)
    ways: list[list[Intervention]] = [
        [Zero(Site(1, "attn_out")), Scale(Site(0, "pattern"), 0.5)],
        [Scale(Site(0, "mlp_out"), 3.0)],
    ]
    alone = [any_tiny.logits(ids, way) for way in ways]
    assert not torch.allclose(alone[0], alone[1])
    together = threading.Barrier(len(ways))

    def run(way: list[Intervention]) -> list[Tensor]:
        together.wait()
        return [any_tiny.logits(ids, way) for _ in range(RUNS)]

    with ThreadPoolExecutor(len(ways)) as threads:
        found = list(threads.map(run, ways))
    for expected, logits in zip(alone, found, strict=True):
        assert all(torch.equal(expected, one) for one in logits)
