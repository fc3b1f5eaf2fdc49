"""Context traceback: one draw of everything is plain attention, passages keep their order, cuts lose no token."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from analyses._contract import Context, Inputs
from analyses.context_traceback import ANALYSIS, TRIED, TracebackSpec, run
from analyses.context_traceback.computing import answer_of, read
from analyses.context_traceback.passages import check_draws, drawn, passage_scores, passages_of, top_mean
from analyses.context_traceback.tables import DRAWN, HOLDS, RANK, TOP, agreement_table, first_of_both
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.losses import next_token_log_probs
from hooks.model import Model
from hooks.sites import Site
from hooks.tasks import TaskPrompt

TASKS = tuple(TaskPrompt.from_dict(one) for one in TRIED)


def plain(model: Model, text: str, answer: list[int]) -> np.ndarray:
    """The answer tokens' attention to the prompt from whole patterns, mean of layers, heads and answer tokens."""
    ids = model.encode(text)
    sites = [Site(layer, "pattern") for layer in range(model.geometry.n_layers)]
    cache = run_with_cache(model, _tokens(model, [*ids, *answer]), sites)
    rows = np.stack([cache[site][0, :, len(ids) :, : len(ids)].numpy() for site in sites])
    return np.asarray(rows.mean(axis=(0, 1, 2)))


def _tokens(model: Model, ids: list[int]) -> Tensor:
    return model.tokens("x").new_tensor([ids])


def test_one_draw_of_everything_is_plain_top_k_attention(any_tiny: Model) -> None:
    spec = TracebackSpec(draws=1, share=1.0, traced="gold", top=2, first_token=True)
    frames = run(any_tiny, Inputs(tasks=TASKS[:1]), spec, Context())
    rows, one = frames["passages"], passages_of(any_tiny, 0, TASKS[0], "passage")
    answer = answer_of(any_tiny, one, spec)
    weights = plain(any_tiny, TASKS[0].text, answer)
    owner, scored = np.array(one.owner), np.array(one.scored)
    for passage in range(3):
        mine = np.sort(weights[(owner == passage) & scored])[::-1]
        assert rows["score"][passage] == pytest.approx(mine[:2].mean(), abs=1e-6)
        assert rows["mean_weight"][passage] == pytest.approx(mine.mean(), abs=1e-6)
    assert rows["score"].tolist() == pytest.approx(rows["one_pass"].tolist())
    assert rows["score"].nunique() == 3


def test_leaving_out_is_the_log_probability_without_the_passage(tiny: Model) -> None:
    spec = TracebackSpec(draws=3, traced="gold")
    rows = run(tiny, Inputs(tasks=TASKS[:1]), spec, Context())["passages"]
    one = passages_of(tiny, 0, TASKS[0], "passage")
    answer = answer_of(tiny, one, spec)

    def log_prob(ids: list[int]) -> float:
        return float(next_token_log_probs(tiny, _tokens(tiny, [*ids, *answer]))[0, len(ids) - 1 :].sum())

    for passage in range(3):
        left = [token for token, owner in zip(one.ids, one.owner, strict=True) if owner != passage]
        assert rows["drop"][passage] == pytest.approx(log_prob(list(one.ids)) - log_prob(left), abs=1e-4)
    assert rows["drop"].abs().min() > 1e-4


def test_draws_show_every_passage_equally_often_and_keep_their_order(tiny: Model) -> None:
    found = drawn(7, 14, 0.4, np.random.default_rng(0))
    counts = np.bincount([one for chosen in found for one in chosen], minlength=7)
    assert counts.max() - counts.min() <= 1
    assert all(chosen == sorted(set(chosen)) and len(chosen) == 3 for chosen in found)
    assert drawn(5, 2, 1.0, np.random.default_rng(0)) == [[0, 1, 2, 3, 4]] * 2
    one = passages_of(tiny, 0, TASKS[0], "passage")
    assert "".join(tiny.str_tokens([one.ids[at] for at in one.kept([0, 2])])) == (
        "Mary owns a book. Paul owns a river.\nJohn owns a"
    )
    assert one.kept(range(3)) == list(range(len(one.ids)))
    with pytest.raises(InputError, match="draws 2: with 1 shown in each they cannot show all 4 passages"):
        check_draws(4, 2, 0.1)


def test_the_first_token_counts_for_nothing_unless_asked(tiny: Model) -> None:
    one = passages_of(tiny, 0, TASKS[0], "passage")
    weights, kept = np.zeros(len(one.ids)), range(len(one.ids))
    weights[0], weights[2] = 0.9, 0.1

    def score(first_token: bool) -> dict[int, float]:
        return passage_scores(weights, one, kept, lambda given: top_mean(given, 1), first_token=first_token)

    assert score(True) == {0: 0.9, 1: 0.0, 2: 0.0}
    assert score(False) == {0: 0.1, 1: 0.0, 2: 0.0}
    assert top_mean(np.array([1.0, 3.0]), 5) == 2.0


def test_passages_are_spans_or_sentences(tiny: Model) -> None:
    text = "the red book. Mary went to the park!\nJohn owns a house. What"
    sentences = ("the red book.", "Mary went to the park!", "John owns a house.")
    assert passages_of(tiny, 0, TaskPrompt(text, ("x",)), "passage").texts == sentences
    spans = (("passage 2", "Mary went"), ("passage", "red book"))
    one = passages_of(tiny, 0, TaskPrompt(text, ("x",), spans), "passage")
    assert one.texts == ("red book", "Mary went")
    assert "".join(tiny.str_tokens([token for token, owner in zip(one.ids, one.owner, strict=True) if owner == 0])) == (
        " red book"
    )
    with pytest.raises(InputError, match="1 passage in"):
        passages_of(tiny, 0, TaskPrompt("Mary went to the park. Where", ("x",)), "passage")
    repeated = TaskPrompt(
        "the book. Mary went to the park! the book. What", ("x",), (("p", "Mary went"), ("p 2", "the book"))
    )
    assert list(passages_of(tiny, 0, repeated, "p").owner[:3]) == [-1, -1, -1], "the later one is meant"
    twice = TaskPrompt("red book. red book. What", ("x",), (("p", "red book"), ("p 2", "red book")))
    assert passages_of(tiny, 0, twice, "p").texts == ("red book", "red book")
    with pytest.raises(InputError, match=r"task 0: span 'book\. Mary' is not in .* after"):
        passages_of(tiny, 0, TaskPrompt(text, ("x",), (("p", "red book"), ("p 2", "book. Mary"))), "p")
    with pytest.raises(InputError, match="cuts through"):
        passages_of(tiny, 0, TaskPrompt(text, ("x",), (("p", "the re"), ("p 2", "Mary"))), "p")


def test_agreement_is_counted_by_hand() -> None:
    passages = pd.DataFrame({
        "task": [0, 0, 0, 1, 1, 1], "score": [3, 2, 1, 1, 2, 3], "one_pass": [3, 2, 1, 3, 2, 1],
        "mean_weight": [1, 1, 1, 1, 2, 3], "later": [0, 1, 2, 0, 1, 2], "drop": [3.0, 2, 1, 3, 2, 1],
        "holds": [True, False, False, False, False, True],
    })  # fmt: skip
    tasks = pd.DataFrame({"task": [0, 1], "group": ["a", "b"], "right": [True, True]})
    table = agreement_table(passages, tasks).set_index(["method", "measure"])
    assert table.loc[(DRAWN, RANK), "value"] == 0.0
    assert table.loc[("attention in one pass", RANK), "value"] == 1.0
    assert table.loc[("mean weight in one pass", RANK), "tasks"] == 1, "equal weights have no order"
    assert table.loc[(DRAWN, TOP), "value"] == 0.5
    assert table.loc[(DRAWN, HOLDS), "value"] == 1.0
    assert table.loc[("leave-one-out", HOLDS), "value"] == 0.5
    assert table.loc[(DRAWN, HOLDS), "chance"] == pytest.approx(1 / 3)
    assert (table["low"].dropna() >= -1).all()
    tasks["right"] = [True, False]
    table = agreement_table(passages, tasks).set_index(["method", "measure"])
    assert [float(table[name]["leave-one-out", HOLDS]) for name in ("value", "tasks")] == [1.0, 1]
    assert table.loc[(DRAWN, TOP), "tasks"] == 2


def test_what_cannot_be_traced_is_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="no generated tokens"):
        read(tiny, [1, 2], [])
    with pytest.raises(InputError, match="cannot show all 3"):
        ANALYSIS.check(tiny, Inputs(tasks=TASKS), TracebackSpec(draws=1))


def test_equal_scores_rank_at_random() -> None:
    equal, order = pd.Series([1.0, 1.0, 1.0, 1.0]), pd.Series([0.0, 3.0, 1.0, 2.0])
    assert first_of_both(equal, order) == 0.25
    assert first_of_both(equal, equal) == 0.25
    assert first_of_both(order, order) == 1.0
    assert first_of_both(order, -order) == 0.0
