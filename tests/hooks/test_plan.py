"""Capture plans: the predicted bytes are those that come, rows change nothing, and every selection is the plain one."""

from __future__ import annotations

import pytest
import torch

from hooks.capture import run_with_cache
from hooks.errors import Cancelled, InputError
from hooks.model import Model
from hooks.plan import CapturePlan
from hooks.sites import PATTERN_KINDS, Site


@pytest.fixture(scope="module")
def prompts(tiny: Model, draw) -> dict[int, list[int]]:
    """Ragged prompts under keys that are not their order."""
    lengths = [5, 3, 5, 1, 3, 5]
    return {10 * (7 - i): draw(tiny, 1, n, seed=i)[0].tolist() for i, n in enumerate(lengths)}


@pytest.mark.parametrize("tokens", ["all", "last", "-1:", "random:1"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cost_is_what_comes(tiny: Model, prompts, sites_of, tokens, dtype: str) -> None:
    sites = tuple(s for s in sites_of(tiny.geometry) if s.kind not in PATTERN_KINDS)
    heads = (Site(0, "z", head=1), Site(2, "v", head=1), Site(1, "result", head=0))
    plan = CapturePlan((*sites, *heads), tokens=tokens, dtype=dtype, row_tokens=8)
    cost = plan.cost(tiny, list(prompts.values()))
    came = [value for prompt in plan.run(tiny, prompts) for value in prompt.activations.values()]
    assert cost.payload_bytes == sum(value.numel() * value.element_size() for value in came)
    assert (cost.prompts, cost.tokens) == (6, 22)
    assert 0 < cost.seconds < float("inf")


@pytest.mark.parametrize("row_tokens", [1, 9, 1024])
def test_a_packed_capture_equals_a_plain_one(tiny: Model, prompts, row_tokens: int) -> None:
    sites = (Site(0, "resid_pre"), Site(2, "z", head=3), Site(1, "mlp_post"), Site(None, "ln_final_scale"))
    seen = {prompt.index: prompt for prompt in CapturePlan(sites, row_tokens=row_tokens).run(tiny, prompts)}
    assert seen.keys() == prompts.keys()
    for index, ids in prompts.items():
        alone = run_with_cache(tiny, torch.tensor([ids]), sites)
        assert (seen[index].token_ids, seen[index].positions) == (tuple(ids), tuple(range(len(ids))))
        for site in sites:
            torch.testing.assert_close(seen[index].activations[site], alone[site][0], atol=1e-5, rtol=1e-5)


def test_last_keeps_the_last_position(tiny: Model, prompts) -> None:
    site = Site(1, "resid_post")
    for prompt in CapturePlan((site,), tokens="last").run(tiny, prompts):
        alone = run_with_cache(tiny, torch.tensor([prompt.token_ids]), [site])[site]
        assert prompt.positions == (len(prompt.token_ids) - 1,)
        torch.testing.assert_close(prompt.activations[site], alone[0, -1:], atol=1e-5, rtol=1e-5)


def test_kept_activations_do_not_hold_their_batch(tiny: Model, prompts) -> None:
    """A kept slice must own its numbers, or memory grows with whole batches."""
    plan = CapturePlan((Site(0, "resid_pre"), Site(0, "z", head=1)), tokens="last")
    for prompt in plan.run(tiny, prompts):
        for value in prompt.activations.values():
            assert value.untyped_storage().nbytes() == value.numel() * value.element_size()


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (CapturePlan(()), "at least one site"),
        (CapturePlan((Site(0, "pattern"),)), "grows with the square"),
        (CapturePlan((Site(99, "z"),)), "layer 99 does not exist"),
        (CapturePlan((Site(0, "z", position=1),)), "names a position"),
        (CapturePlan((Site(0, "z"),), dtype="float8"), "did you mean"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_it_runs(tiny: Model, plan: CapturePlan, says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan.cost(tiny, [[1, 2]])
    with pytest.raises(InputError, match=says):
        next(plan.run(tiny, {0: [1, 2]}))


def test_nothing_costs_nothing(tiny: Model) -> None:
    cost = CapturePlan((Site(0, "z"),)).cost(tiny, [])
    assert (cost.prompts, cost.tokens, cost.payload_bytes, cost.batch_bytes, cost.seconds) == (0, 0, 0, 0, 0.0)


def test_an_empty_prompt_is_refused(tiny: Model) -> None:
    plan = CapturePlan((Site(0, "z"),))
    with pytest.raises(InputError, match="at least one token"):
        plan.cost(tiny, [[], [], [1]])
    with pytest.raises(InputError, match="at least one token"):
        list(plan.run(tiny, {0: []}))


def test_progress_may_cancel(tiny: Model, prompts) -> None:
    seen: list[float] = []

    def stop(fraction: float, label: str) -> None:
        seen.append(fraction)
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(CapturePlan((Site(0, "z"),), row_tokens=4).run(tiny, prompts, stop))
    assert seen[0] == 0.0
    assert len(seen) == 2


def only(tiny: Model, prompts: dict[int, list[int]], tokens: str, seed: int = 0) -> dict[int, tuple[int, ...]]:
    """Positions kept of each prompt; their values must be those of a plain run."""
    site, kept = Site(1, "mlp_out"), {}
    for prompt in CapturePlan((site,), tokens=tokens, seed=seed, row_tokens=12).run(tiny, prompts):
        alone = run_with_cache(tiny, torch.tensor([prompt.token_ids]), [site])[site][0]
        torch.testing.assert_close(prompt.activations[site], alone[list(prompt.positions)], atol=1e-5, rtol=1e-5)
        kept[prompt.index] = prompt.positions
    return kept


@pytest.mark.parametrize(
    ("tokens", "of_seven"),
    [("2:5", (2, 3, 4)), (":-5", (0, 1)), ("-2:", (5, 6)), (":", tuple(range(7))), ("6:7", (6,))],
)
def test_a_span_is_a_python_slice(tiny: Model, draw, tokens: str, of_seven: tuple[int, ...]) -> None:
    assert only(tiny, {4: draw(tiny, 1, 7)[0].tolist()}, tokens) == {4: of_seven}


@pytest.mark.parametrize("tokens", ["0:8", "7:", "-8:", "3:3", "5:2"])
def test_a_span_outside_a_prompt_is_refused_by_name(tiny: Model, draw, tokens: str) -> None:
    given = {9: draw(tiny, 1, 7)[0].tolist()}
    with pytest.raises(InputError, match=f"tokens '{tokens}' reach outside prompt 9, or select nothing"):
        only(tiny, given, tokens)


@pytest.mark.parametrize("tokens", ["first", "random", "random:0", "random:x", "1-3", "1:2:3", ""])
def test_words_that_select_nothing_are_refused(tiny: Model, tokens: str) -> None:
    with pytest.raises(InputError, match="token selection"):
        CapturePlan((Site(0, "z"),), tokens=tokens).check(tiny)


def test_random_tokens_depend_on_the_seed_and_the_prompt_alone(tiny: Model, draw) -> None:
    given = {index: draw(tiny, 1, 17, seed=index)[0].tolist() for index in range(6)}
    first = only(tiny, given, "random:3")
    assert first == only(tiny, dict(reversed(given.items())), "random:3")
    assert {2: first[2]} == only(tiny, {2: given[2]}, "random:3"), "an interrupted capture draws as a whole one"
    assert first != only(tiny, given, "random:3", seed=1)
    assert len(set(first.values())) > 1
    assert all(len(set(kept)) == 3 and list(kept) == sorted(kept) for kept in first.values())
    with pytest.raises(InputError, match="prompt 3 has 2 tokens, too few for 'random:3'"):
        only(tiny, {3: [1, 2]}, "random:3")


def test_a_plan_describes_what_decides_its_values() -> None:
    sites = (Site(0, "resid_post"), Site(1, "z", head=2))
    plain = CapturePlan(sites, row_tokens=7).as_dict()
    assert plain == CapturePlan(sites, seed=5).as_dict(), "neither the rows nor an unused seed change a value"
    drawn = CapturePlan(sites, tokens="random:2", seed=5, keep="statistics", generate=3).as_dict()
    assert {key: drawn[key] for key in ("tokens", "seed", "keep", "generate")} == {
        "tokens": "random:2", "seed": 5, "keep": "statistics", "generate": 3,
    }  # fmt: skip
