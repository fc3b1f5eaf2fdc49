"""Attention kept with a capture: packed prompts of odd lengths, against each prompt's own written-out pattern."""

from __future__ import annotations

import pytest
import torch

from hooks.capture import run_with_cache
from hooks.captured import CapturedPack
from hooks.errors import InputError
from hooks.model import Model
from hooks.plan import AttentionKeep, CapturePlan
from hooks.sites import Site

KEEP = AttentionKeep(sink=2, window=3, top_k=4)
LENGTHS = (1, 3, 3, 7, 12)


def prompts_of(model: Model) -> dict[int, list[int]]:
    generator = torch.Generator().manual_seed(3)
    draw = lambda n: torch.randint(0, model.geometry.d_vocab, (n,), generator=generator).tolist()  # noqa: E731
    return {10 * place: draw(length) for place, length in enumerate(LENGTHS)}


def packs(model: Model, **options: object) -> list[CapturedPack]:
    plan = CapturePlan((Site(0, "resid_post"),), attention=KEEP, **options)  # type: ignore[arg-type]
    return list(plan.packs(model, prompts_of(model)))


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_equal_to_each_prompts_own_pattern(any_tiny: Model, tokens: str) -> None:
    seen = 0
    for pack in packs(any_tiny, tokens=tokens, row_tokens=16):
        assert [one.layer for one in pack.attention] == list(range(any_tiny.geometry.n_layers))
        for layer, found in enumerate(pack.attention):
            at = 0
            for kept in pack.kept:
                ids = torch.tensor([kept.token_ids])
                pattern = run_with_cache(any_tiny, ids, [Site(layer, "pattern")])[Site(layer, "pattern")][0]
                own = pattern[:, list(kept.positions)].transpose(0, 1)  # row head key
                rows = slice(at, at + len(kept.positions))
                near = torch.tensor(kept.positions)[:, None, None] - torch.arange(own.shape[2])
                numbers = {name: value[rows] for name, value in found.numbers.items()}
                expected = {
                    "entropy": torch.special.entr(own).sum(-1),
                    "max_weight": own.amax(-1),
                    "sink_mass": own[..., :2].sum(-1),
                    "recent_mass": (own * (near < 3)).sum(-1),
                    "mean_distance": (own * near).sum(-1),
                }
                for name, value in expected.items():
                    torch.testing.assert_close(numbers[name], value, atol=1e-5, rtol=1e-4)
                chosen = own.gather(2, numbers["max_position"][..., None])[..., 0]
                torch.testing.assert_close(chosen, own.amax(-1), atol=1e-6, rtol=1e-5)
                top, weights = found.top_positions[rows], found.top_weights[rows]
                torch.testing.assert_close(
                    own.gather(2, top.clamp(min=0)).where(top >= 0, 0.0), weights, atol=1e-5, rtol=1e-4
                )
                assert ((top >= 0).sum(-1) == torch.tensor([min(4, p + 1) for p in kept.positions])[:, None]).all()
                at, seen = rows.stop, seen + 1
    assert seen == len(LENGTHS) * any_tiny.geometry.n_layers


def test_generated_texts_have_the_attention_of_the_whole_text(tiny: Model) -> None:
    for pack in packs(tiny, generate=2):
        whole = {one.index: list(one.token_ids) for one in pack.kept}
        again = CapturePlan((Site(0, "resid_post"),), attention=KEEP)
        other = {k.index: p for p in again.packs(tiny, whole) for k in p.kept}
        assert set(other) == set(whole)
        for layer, found in enumerate(pack.attention):
            wanted = torch.cat([p.attention[layer].numbers["entropy"] for p in dict.fromkeys(other.values())])
            torch.testing.assert_close(found.numbers["entropy"], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("keep", "says"),
    [(AttentionKeep(sink=0), "attention sink 0"), (AttentionKeep(top_k=-1), "attention top keys -1")],
)
def test_refusals(tiny: Model, keep: AttentionKeep, says: str) -> None:
    plan = CapturePlan((Site(0, "resid_post"),), attention=keep)
    with pytest.raises(InputError, match=says):
        list(plan.packs(tiny, prompts_of(tiny)))


def test_the_cost_counts_it(tiny: Model) -> None:
    bare, full = (CapturePlan((Site(0, "resid_post"),), attention=keep) for keep in (None, KEEP))
    costs = [plan.cost(tiny, prompts_of(tiny), seconds=False) for plan in (bare, full)]
    assert costs[0].payload_bytes == costs[1].payload_bytes
    assert costs[1].disk_bytes > costs[0].disk_bytes
    assert bare.as_dict() != full.as_dict()
