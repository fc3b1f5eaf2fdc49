"""Retention: budgets, scores, eviction and tables by hand; bad input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from analyses._contract import Context, Inputs
from analyses.retention import ANALYSIS, RetentionSpec, run
from analyses.retention.computing import compared
from analyses.retention.evicting import Evict
from analyses.retention.policies import (
    capacity_of,
    evicted,
    kept_channels,
    pyramid_capacities,
    recent_of,
)
from analyses.retention.tables import summary_table
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from hooks.visibility import causal
from tests.pairs import PAIR


@pytest.mark.parametrize(("capacity", "recent", "total", "layers"), [
    (64, 8, 512, 30), (40, 10, 60, 12), (100, 20, 130, 5), (30, 29, 100, 4), (20, 4, 400, 2), (50, 5, 50, 6),
    (12, 6, 57, 30),
])  # fmt: skip
def test_pyramid_budgets_add_up_and_never_grow(capacity: int, recent: int, total: int, layers: int) -> None:
    found = pyramid_capacities(capacity, recent, total, layers)
    assert len(found) == layers
    assert all(one >= other for one, other in pairwise(found))
    assert max(found) <= total
    assert min(found) >= recent
    assert sum(found) == capacity * layers
    assert pyramid_capacities(capacity, recent, total, 1) == [capacity]


def test_pyramid_by_hand() -> None:
    # B = 40, min = 2, max = 78, a step of 76/3, and the window of 10 besides.
    assert pyramid_capacities(50, 10, 200, 4) == [88, 63, 37, 12]
    assert pyramid_capacities(50, 10, 79, 4) == [50] * 4, "a text shorter than twice the budget is flat"


def test_scores_beat_random_eviction_where_one_key_is_read() -> None:
    """A planted head reads key 1 from everywhere: accumulated scores keep it, random eviction mostly does not."""
    total, prompt, capacity = 24, 12, 6
    scores = torch.zeros(1, 1, total, total)
    scores[..., 1] = 8.0
    scores = scores.masked_fill(~causal(total), float("-inf"))
    site, masses = Site(0, "attn_scores"), {}
    for rule in ("scores", "random"):
        order = torch.rand(1, total, generator=torch.Generator().manual_seed(1))
        order[0, 1] = 0.3
        one = Evict(site, prompt, capacity, 1, rule, 3, 1.0, order)
        one.edited(scores)
        masses[rule] = one.seen[0][0, prompt:, 1].double().mean()
    assert masses["scores"] == 1.0
    assert masses["random"] < 0.5


def test_forgetting_drops_what_was_read_long_ago() -> None:
    total, prompt, site = 24, 12, Site(0, "attn_scores")
    old = torch.zeros(1, 1, total, total)
    old[:, :, :9, 1], old[:, :, 9:, 2] = 8.0, 8.0
    old = old.masked_fill(~causal(total), float("-inf"))
    by_alpha = {}
    for alpha in (0.3, 1.0):
        one = Evict(site, prompt, 3, 1, "scores", 2, alpha)
        one.edited(old)
        by_alpha[alpha] = one.seen[0][0, -1].nonzero()[:, 0].tolist()
    assert by_alpha == {0.3: [2, 22, 23], 1.0: [1, 22, 23]}, "forgetting drops what was read long ago"


def test_eviction_drops_the_least_of_those_that_are_there() -> None:
    kept = torch.tensor([[True, True, False, True, True]])
    found = evicted(kept, torch.tensor([[0.5, 0.1, 9.0, 0.3, 0.2]]), 2)
    assert found.tolist() == [[True, False, False, True, False]]
    assert torch.equal(evicted(kept, torch.zeros(1, 5), 4), kept)


def test_the_channels_that_carry_the_products_stay() -> None:
    queries, keys = torch.full((5, 4, 3), 0.01), torch.full((7, 2, 3), 0.01)
    queries[:, :2, 1], keys[:, 0, 1] = 3.0, 1.0
    queries[:, 2:, 2], keys[:, 1, 2] = 3.0, 1.0
    assert kept_channels(queries, keys, 1).tolist() == [[False, True, False], [False, False, True]]
    assert kept_channels(queries, keys, 3).all()


def test_sizes() -> None:
    assert [capacity_of(share, 35) for share in (0.2, 0.01, 1.0)] == [7, 2, 35]
    assert [recent_of(0.5, one) for one in (1, 7, 10)] == [1, 4, 5]


def test_divergence_agreement_and_loss_by_hand() -> None:
    plain = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    other = torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    found = compared(plain, other, torch.tensor([0]))
    assert found["kl"].to_numpy() == pytest.approx([0.5 * np.log(2) + 0.5 * np.log(2 / 3), 0.0], abs=1e-6)
    assert found["agrees"].tolist() == [False, True]
    assert found["change"][0] == pytest.approx(np.log(2))
    assert np.isnan(found["change"][1]), "nothing follows the last token"


def test_a_policy_that_is_always_better_is_discovered() -> None:
    texts = range(8)
    rows = [(text, policy, 0.5, draw, place, kl + 0.01 * text, kl < 1, 2.0, kl)
            for text in texts for policy, kl, draws in (("accumulated", 0.5, 1), ("random", 1.5, 2))
            for draw in range(draws) for place in (4, 5)]  # fmt: skip
    names = ["text", "policy", "budget", "draw", "position", "kl", "agrees", "loss", "change"]
    table = summary_table(pd.DataFrame(rows, columns=names)).set_index(["measure", "policy"])
    for measure, gain in (("kl", 1.0), ("agreement", 1.0), ("change", 1.0)):
        row = table.loc[(measure, "accumulated")]
        assert row["better"] == pytest.approx(gain)
        assert row["discovered"]
        assert np.isnan(table.loc[(measure, "random"), "better"])


def test_bad_input_is_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="has 1 token: retention needs 3"):
        ANALYSIS.check(tiny, Inputs(prompt="a"), RetentionSpec())
    with pytest.raises(InputError, match="the budgets are"):
        ANALYSIS.check(tiny, Inputs(prompt=PAIR.clean), RetentionSpec(shown_budget=0.35))
    for budget in (0.0, 1.2):
        with pytest.raises(ValidationError, match="budgets"):
            RetentionSpec(budgets=(budget,))


def test_the_control_is_always_there_and_sizes_are_told(tiny: Model) -> None:
    spec = RetentionSpec(policies=("pyramid",), budgets=(0.5,), random_draws=1)
    frames = run(tiny, Inputs(prompt=PAIR.clean), spec, Context())
    assert list(dict.fromkeys(frames["summary"]["policy"])) == ["pyramid", "random"]
    total = len(tiny.encode(PAIR.clean))
    keys = frames["layers"].groupby("policy")["keys"].mean()
    assert keys["random"] == capacity_of(0.5, total)
    assert abs(keys["pyramid"] - keys["random"]) <= 2


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_walked_scores_are_the_forgetting_sum(alpha: float) -> None:
    """What is kept after the prompt follows Σ α^(n−q)·A[q, k] over the rows as they were seen."""
    total, prompt, capacity = 18, 6, 4
    scores = 3 * torch.randn(1, 1, total, total, generator=torch.Generator().manual_seed(2))
    scores = scores.masked_fill(~causal(total), float("-inf"))
    one = Evict(Site(0, "attn_scores"), prompt, capacity, 1, "scores", 1, alpha)
    one.edited(scores)
    seen = one.seen[0][0]
    pattern = scores[0, 0].masked_fill(~seen, float("-inf")).softmax(dim=-1)
    for query in range(prompt, total):
        before = seen[query - 1].clone() if query > prompt else causal(total)[query - 1].clone()
        weights = torch.tensor([alpha ** (query - 1 - row) for row in range(query)])
        sums = (weights[:, None] * pattern[:query]).sum(dim=0)
        before[query] = True
        sums[query] = float("inf")
        best = sums.masked_fill(~before, float("-inf")).topk(capacity).indices
        assert set(best.tolist()) == set(seen[query].nonzero()[:, 0].tolist())
