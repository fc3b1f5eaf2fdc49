"""Token attribution: ReAGent on planted answers, faithfulness against chance, tables, bad input.

More than 200 lines: tables, rankings and refusals share the planted answers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from analyses._contract import Context, Inputs
from analyses.token_attribution import ANALYSIS, TokenSpec, run
from analyses.token_attribution.explained import Explained, Question
from analyses.token_attribution.faithfulness import curves, distinct, how_many, order_of, random_orders, reader
from analyses.token_attribution.reagent import reagent, replacements, updates
from analyses.token_attribution.tables import (
    RANDOM,
    agreement_table,
    completeness_table,
    faithfulness_table,
    spans_table,
)
from hooks.errors import InputError
from hooks.model import Model
from hooks.tasks import TaskPrompt
from tests.pairs import OTHER, PAIR


def question(model: Model, text: str = PAIR.clean) -> Question:
    ids = model.tokens(text)
    return Question(0, text, ids, int(model.logits(ids, last_only=True)[0, -1].argmax()), own=True)


def one_token_counts(causal: int, total: int) -> tuple[Tensor, Tensor]:
    """Tokens 0 … total − 1 of a vocabulary of 20, and even chances for stand-ins; token `causal` alone matters."""
    chances = torch.ones(total, 20)
    ids = torch.arange(total)
    chances[ids, ids] = 0.0
    return ids, chances / chances.sum(dim=1, keepdim=True)


def test_reagent_finds_the_one_token_that_counts() -> None:
    total, causal = 8, 5
    ids, chances = one_token_counts(causal, total)

    def likelihoods(rows: Tensor) -> tuple[Tensor, Tensor]:
        there = rows[:, causal] == causal
        return torch.where(there, 0.8, 0.1), torch.where(there, 0, 9)

    draw = torch.Generator().manual_seed(0)
    found = reagent(likelihoods, ids, chances, runs=3, steps=64, top=1, generator=draw)
    assert int(found.importance.argmax()) == causal
    assert found.converged == found.runs == 3
    assert found.steps < 64
    assert float(found.importance.sum()) == pytest.approx(1.0)


def test_reagent_tells_nothing_where_nothing_counts() -> None:
    ids, chances = one_token_counts(0, 6)

    def likelihoods(rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(rows),), 0.3), torch.full((len(rows),), 7)

    draw = torch.Generator().manual_seed(0)
    found = reagent(likelihoods, ids, chances, runs=20, steps=16, top=2, generator=draw)
    assert found.converged == 0
    assert found.steps == 16
    # Only the random beginnings in [0, 1) are left of the scores.
    assert (found.importance - 1 / 6).abs().max() < 0.06


def test_replaced_tokens_take_the_blame() -> None:
    added = updates(torch.tensor([[True, False]]), torch.tensor([0.5]))
    assert added[0].tolist() == pytest.approx([np.log(3), -np.log(3)])
    chances = replacements(torch.randn(4, 9, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 3, 4]))
    assert chances[range(4), [1, 2, 3, 4]].tolist() == [0.0] * 4
    assert torch.allclose(chances.sum(dim=1), torch.ones(4))
    assert chances[0, 0] == pytest.approx(1 / 8)


def test_heads_of_a_ranking() -> None:
    assert [how_many(share, 5) for share in (0.01, 0.5, 0.99)] == [1, 2, 4]
    assert distinct((0.1, 0.2, 0.5, 0.9), 5) == {1: 0.1, 2: 0.5, 4: 0.9}
    assert order_of(torch.tensor([0.1, 0.9, 0.9, -1.0])) == [1, 2, 0, 3]


def test_a_ranking_that_knows_is_faithful_and_a_permuted_one_is_as_random() -> None:
    total, needed = 20, 7
    asked: list[tuple[int, ...]] = []

    def read(sets: object) -> list[float]:
        asked.extend(sets)  # type: ignore[arg-type]
        return [0.9 if needed in one else 0.0 for one in asked]

    knows = [needed, *(place for place in range(total) if place != needed)]
    permuted = random_orders(total, 400, seed=1)
    frame = curves({"knows": [knows], "permuted": permuted, RANDOM: random_orders(total, 400, seed=2)},
                   (0.1, 0.3, 0.5), 0.9, read)  # fmt: skip
    assert len(asked) == len(set(asked)), "no set is run twice"
    means = frame.groupby("method")[["comprehensiveness", "sufficiency"]].mean()
    assert means.loc["knows"].tolist() == [pytest.approx(0.9), pytest.approx(0.0)]
    # A head of 10, 30 and 50% holds the needed token that often.
    assert means.loc["permuted", "comprehensiveness"] == pytest.approx(0.9 * 0.3, abs=0.06)
    assert means.loc["permuted"].to_numpy() == pytest.approx(means.loc[RANDOM].to_numpy(), abs=0.06)


@pytest.mark.parametrize("removal", ["deleted", "baseline"])
def test_what_is_kept_is_what_is_read(tiny: Model, removal: str) -> None:
    explained = Explained(tiny, question(tiny))
    total = explained.question.length
    every, some = tuple(range(total)), (0, 2, total - 1)
    whole, part = reader(explained, removal)([every, some])  # type: ignore[arg-type]
    logits = tiny.logits(explained.question.ids, last_only=True)[0, -1].float()
    assert whole == pytest.approx(float(logits.softmax(dim=0)[explained.question.target]), abs=1e-5)
    if removal == "deleted":
        fewer = tiny.logits(explained.question.ids[:, list(some)], last_only=True)[0, -1].float()
        assert part == pytest.approx(float(fewer.softmax(dim=0)[explained.question.target]), abs=1e-6)
    assert part != whole


def test_tables_by_hand() -> None:
    rows = [(prompt, method, draw, share, 1, value, 1 - value)
            for prompt in range(8) for method, value, draws in (("occlusion", 0.6, 1), (RANDOM, 0.2, 2))
            for draw in range(draws) for share in (0.1, 0.5)]  # fmt: skip
    names = ["prompt", "method", "draw", "share", "removed", "comprehensiveness", "sufficiency"]
    table = faithfulness_table(pd.DataFrame(rows, columns=names)).set_index(["measure", "method"])
    assert table.loc[("comprehensiveness", "occlusion"), "better"] == pytest.approx(0.4)
    assert table.loc[("sufficiency", "occlusion"), "better"] == pytest.approx(0.4), "less is better here"
    assert table["discovered"].tolist() == [True, False, True, False]
    scores = pd.DataFrame({"prompt": 0, "position": [0, 1, 2] * 3, "method": ["occlusion"] * 3 + ["rollout"] * 3
                           + ["reagent"] * 3, "score": [1.0, 2, 3, 3, 2, 1, 0, 0, 0]})  # fmt: skip
    agreement = agreement_table(scores).set_index(["method", "other"])
    assert agreement.loc[("occlusion", "rollout"), "mean"] == pytest.approx(-1.0)
    assert agreement.loc[("occlusion", "reagent"), "prompts"] == 0, "a method that tells no token apart"
    whole = completeness_table(scores, pd.DataFrame({"prompt": [0], "value": [1.0], "baseline_value": [-4.0]}))
    assert whole[["method", "total", "difference", "gap"]].to_numpy().tolist() == [["occlusion", 6.0, 5.0, 1.0]]
    ranked = pd.DataFrame({"prompt": [0, 0, 1, 1], "position": [0, 1, 0, 1], "method": "rollout", "rank": [2, 1, 2, 1]})
    (row,) = spans_table(ranked, {0: (1,), 1: (0,)}).to_dict("records")
    assert (row["mean"], row["chance"], row["prompts"]) == (0.5, 0.5, 2)


def test_a_set_of_pairs_and_of_tasks(tiny: Model) -> None:
    small = {"steps": 2, "reagent_runs": 1, "reagent_steps": 8, "random_draws": 2, "shares": (0.3,)}
    pairs = run(tiny, Inputs(pairs=(PAIR, OTHER)), TokenSpec(explains="logit_diff", **small), Context())
    logits = tiny.logits(tiny.tokens(PAIR.clean), last_only=True)[0, -1].float()
    wanted = logits[tiny.single_token(PAIR.answer)] - logits[tiny.single_token(PAIR.distractor)]
    assert pairs["prompts"]["value"][0] == pytest.approx(float(wanted), abs=1e-4)
    assert not pairs["prompts"]["own"].any()
    same = pairs["agreement"][pairs["agreement"]["method"] == pairs["agreement"]["other"]]
    assert same["mean"].to_numpy() == pytest.approx(1.0)
    task = TaskPrompt(PAIR.clean, ("Mary",), (("place", "store"),))
    frames = run(tiny, Inputs(tasks=(task,)), TokenSpec(methods=("occlusion",), span_role="place", **small), Context())
    assert frames["spans"]["prompts"].tolist() == [1]
    assert frames["prompts"]["reagent_runs"].isna().all()


def test_bad_input_is_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="has 1 token: token attribution compares"):
        ANALYSIS.check(tiny, Inputs(prompt="a"), TokenSpec())
    with pytest.raises(InputError, match="needs pairs"):
        ANALYSIS.check(tiny, Inputs(prompt=PAIR.clean), TokenSpec(explains="logit_diff"))
    with pytest.raises(InputError, match="needs tasks"):
        ANALYSIS.check(tiny, Inputs(prompt=PAIR.clean), TokenSpec(span_role="subject"))
    with pytest.raises(InputError, match="twice"):
        ANALYSIS.check(tiny, Inputs(prompt=PAIR.clean), TokenSpec(methods=("occlusion", "occlusion")))
    with pytest.raises(InputError, match="the prompts are 0 to 0"):
        ANALYSIS.check(tiny, Inputs(prompt=PAIR.clean), TokenSpec(shown_prompt=1))
    for share in (0.0, 1.0):
        with pytest.raises(ValidationError, match="shares"):
            TokenSpec(shares=(share,))


def test_a_span_that_cuts_a_token_is_refused(tiny: Model) -> None:
    tokens = tiny.str_tokens(tiny.encode(PAIR.clean))
    word = max((token.strip() for token in tokens), key=len)
    if len(word) < 2:
        pytest.skip("this toy's tokens are single letters")
    task = TaskPrompt(PAIR.clean, ("Mary",), (("subject", word[:-1]),))
    with pytest.raises(InputError, match="cuts through token"):
        ANALYSIS.check(tiny, Inputs(tasks=(task,)), TokenSpec(span_role="subject"))


def test_copies_of_a_prompt_tell_no_more_than_one() -> None:
    """Eight prompts of one cluster have no interval and no mark; of eight clusters they have both."""
    rows = [(prompt, method, 0, 0.1, 1, value + 0.01 * prompt, 1 - value)
            for prompt in range(8) for method, value in (("occlusion", 0.6), (RANDOM, 0.2))]  # fmt: skip
    curves = pd.DataFrame(rows, columns=["prompt", "method", "draw", "share", "removed", "comprehensiveness",
                                         "sufficiency"])  # fmt: skip
    scores = pd.DataFrame({"prompt": np.repeat(range(8), 4), "position": [0, 1] * 16,
                           "method": ["occlusion", "occlusion", "rollout", "rollout"] * 8,
                           "score": np.arange(32.0)})  # fmt: skip
    ranked = pd.DataFrame({"prompt": range(8), "position": 0, "method": "rollout", "rank": 1})
    for clusters in (1, 8):
        groups = {prompt: str(prompt % clusters) for prompt in range(8)}
        table = (
            faithfulness_table(curves, groups).set_index(["measure", "method"]).loc[("comprehensiveness", "occlusion")]
        )
        assert table["better"] == pytest.approx(0.4)
        assert (table["prompts"], table["clusters"]) == (8, clusters)
        assert bool(table["discovered"]) == (clusters == 8)
        assert bool(np.isnan(table["better_low"])) == (clusters == 1)
        agreed = agreement_table(scores, groups).set_index(["method", "other"]).loc[("occlusion", "rollout")]
        assert bool(np.isnan(agreed["low"])) == (clusters == 1)
        spans = spans_table(ranked, dict.fromkeys(range(8), (0,)), groups).iloc[0]
        assert spans["low"] < (0.3 if clusters == 1 else 0.7)
        assert spans["low"] > (0.0 if clusters == 1 else 0.6)
