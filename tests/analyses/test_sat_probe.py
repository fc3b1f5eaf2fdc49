"""The SAT probe: weights equal the patterns written out, a planted head is chosen, shuffled labels are chance.

More than 200 lines: the planted questions serve every test here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses._contract import Context, Inputs
from analyses.sat_probe import ANALYSIS, TRIED, SatSpec, run
from analyses.sat_probe.probing import (
    LEAST,
    MAJORITY,
    PROBE,
    SHUFFLED,
    area,
    dealt,
    fitted,
    folds_of,
    head_table,
    out_of_half,
    probe_score,
    risks,
    shuffled,
)
from analyses.sat_probe.reading import Examples, asked_of, constraint_weights, joined
from analyses.sat_probe.tables import cutoff_table, tables, within_wordings
from hooks.attention_rows import read_rows
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from hooks.tasks import Related, TaskPrompt

LAYERS, HEADS, PLANTED = 3, 4, (1, 2)
TASKS = tuple(TaskPrompt.from_dict(one) for one in TRIED)


def synthetic(count: int = 240, seed: int = 0, planted: bool = True) -> Examples:
    """Questions in groups of two; where planted, one head's weight on the constraint decides which are right."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 1, (count, LAYERS, HEADS))
    right = weights[:, *PLANTED] + rng.normal(0, 0.1, count) > 0.5 if planted else rng.permutation(np.arange(count) % 2)
    rows = pd.DataFrame({
        "task": range(count), "wording": np.where(np.arange(count) % 3 == 0, "a", "b"),
        "group": [f"g{place // 2}" for place in range(count)], "prompt": "p", "constraint": "c", "gold": "g",
        "said": "s", "right": np.asarray(right, dtype=bool), "log_prob": -rng.uniform(size=count),
        "constraint_tokens": rng.integers(1, 5, count), "constraint_rarity": rng.uniform(size=count),
    })  # fmt: skip
    return Examples(rows, weights)


def test_a_planted_head_is_chosen_and_found_from_its_layer_on() -> None:
    given = synthetic()
    folds = folds_of(given, 3, 0)
    heads = head_table(given, folds, 0.05)
    best = heads.iloc[int(heads["weight"].abs().argmax())]
    assert (best["layer"], best["head"]) == PLANTED
    assert best["weight"] > 0
    assert best["chosen"] == 1.0
    assert heads["chosen"].drop(best.name).max() < 1.0, "L1 leaves the other heads out"
    assert bool(best["discovered"])
    assert best["auroc"] > 0.95
    cutoff = cutoff_table(given, folds, 0.05).set_index("layers")["auroc"]
    assert cutoff[1] < 0.7 < 0.9 < cutoff[2]
    scores = np.stack([out_of_half(given, half, probe_score(0.05)) for half in folds])
    (_, top, _), (_, bottom, _) = risks(given, folds, scores)
    assert float(top.value) < 0.05
    assert float(bottom.value) > 0.95


def test_shuffled_labels_and_noise_are_chance() -> None:
    found = shuffled(synthetic(), folds_of(synthetic(), 4, 1), 0.3, 30, 0)
    assert found.low < 0.5 < found.high
    assert abs(float(found.value) - 0.5) < 0.08
    assert found.high - found.low > 0.02, "the permuted probe has weights, so that it can be wrong"
    areas = []
    for seed in range(8):
        given = synthetic(seed=seed, planted=False)
        half = folds_of(given, 1, 1)[0]
        areas.append(area(given, half, out_of_half(given, half, probe_score(0.3))))
    assert sum(bool(low < 0.5 < high) for _, low, high in areas) >= 6, "95% intervals of eight sets of noise"
    assert abs(np.mean([value for value, _, _ in areas]) - 0.5) < 0.06


def test_the_frames_say_chance_for_a_constant_and_take_wordings_out() -> None:
    given = synthetic()
    frames = tables(given, folds_of(given, 2, 0), SatSpec(shuffles=4), lambda _share, _label: None)
    scores = frames["scores"].set_index("method")
    areas, low, high = (scores[name].astype(float).to_dict() for name in ("auroc", "low", "high"))
    assert areas[MAJORITY] == 0.5
    assert areas[PROBE] > 0.95
    assert low[SHUFFLED] <= 0.5 <= high[SHUFFLED]
    assert areas["attention probe, within wordings"] > 0.9
    folds = folds_of(given, 2, 0)
    by_wording = np.tile((given.rows["wording"] == "a").to_numpy(dtype=float), (2, 1))
    assert np.abs(within_wordings(given, folds, by_wording)).max() == 0.0


def test_halves_share_no_group_and_have_both_classes() -> None:
    given = synthetic()
    for half in folds_of(given, 3, 7):
        assert (given.rows.assign(half=half).groupby("group")["half"].nunique() == 1).all()
        rates = given.rows.groupby(half)["right"].mean()
        assert abs(rates[0] - rates[1]) < 0.1
    assert np.array_equal(folds_of(given, 3, 7), folds_of(given, 3, 7))


def test_standardising_makes_the_scale_of_a_head_irrelevant() -> None:
    given = synthetic()
    flat = given.weights.reshape(len(given.rows), -1)
    one, other = (fitted(features, given.rows["right"], 0.05) for features in (flat, flat * 100 + 3))
    assert np.allclose(one.weights, other.weights, atol=1e-4)
    assert np.allclose(one.score(flat), other.score(flat * 100 + 3), atol=1e-3)


def test_weights_and_log_probs_equal_the_written_out_ones(any_tiny: Model) -> None:
    task = TaskPrompt("When John and Mary went to the store", ("x",), (("subject", "John and Mary"),))
    one = asked_of(any_tiny, [task], SatSpec())[0]
    found, log_prob = constraint_weights(any_tiny, one)
    sites = [Site(layer, "pattern") for layer in range(any_tiny.geometry.n_layers)]
    cache = run_with_cache(any_tiny, any_tiny.tokens(task.text), sites)
    wanted = np.stack([cache[site][0, :, -1][:, list(one.places)].amax(-1).numpy() for site in sites])
    assert len(one.places) > 1
    assert np.allclose(found, wanted, atol=1e-5)
    log_probs = cache.logits[0].log_softmax(-1)
    assert log_prob == pytest.approx(float(log_probs[-1].max()), abs=1e-4)
    queries = [1, len(one.ids) - 1]
    assert np.allclose(read_rows(any_tiny, one.ids, queries, lambda *_: None), log_probs[queries], atol=1e-4)


def test_side_questions_are_asked_once(tiny: Model) -> None:
    side = Related("first_hop", "the book of Mary is", ("red",))
    tasks = [TaskPrompt(text, ("x",), (("subject", "Mary"),), (side,)) for text in ("Mary went to", "Mary sold the")]
    asked = asked_of(tiny, tasks, SatSpec(side="first_hop"))
    assert [(one.text, one.answers, one.wording) for one in asked] == [(side.text, ("red",), "the book of … is")]
    assert [one.text for one in asked_of(tiny, tasks, SatSpec())] == ["Mary went to", "Mary sold the"]


def test_bad_tasks_are_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="covers the whole prompt"):
        asked_of(tiny, [TaskPrompt("Mary", ("x",), (("subject", "Mary"),))], SatSpec())
    with pytest.raises(InputError, match="unknown span 'object'"):
        asked_of(tiny, TASKS, SatSpec(span_role="object"))
    with pytest.raises(InputError, match="too few tasks: 3 different questions"):
        ANALYSIS.check(tiny, Inputs(tasks=TASKS[:3]), SatSpec())
    wrong = tuple(TaskPrompt(one.text, ("zzqxj",), one.spans) for one in TASKS)
    with pytest.raises(InputError, match=f"all one class: 0 right and {len(TASKS)} wrong"):
        run(tiny, Inputs(tasks=wrong), SatSpec(new_tokens=2), Context())
    few = synthetic()
    few.rows["right"] = np.arange(len(few.rows)) < LEAST - 1
    with pytest.raises(InputError, match=f"too few tasks: {LEAST - 1} right and 236 wrong"):
        folds_of(few, 2, 0)
    together = synthetic()
    together.rows["group"] = "one"
    with pytest.raises(InputError, match="no two halves without a shared group"):
        folds_of(together, 2, 0)


def test_shuffled_labels_stay_together() -> None:
    """Groups of one size trade whole blocks; single questions are permuted; nothing is lost."""
    groups = np.repeat(["a", "b", "c", "d"], 5)
    labels = np.repeat([True, False, True, False], 5)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        found = dealt(labels, groups, rng)
        assert sorted(found) == sorted(labels)
        assert all(len(set(found[groups == name])) == 1 for name in "abcd")
        seen.add(tuple(found[::5]))
    assert len(seen) == 6, "every way of dealing two of four blocks"
    alone = dealt(np.arange(20), np.arange(20), rng)
    assert sorted(alone) == list(range(20))
    assert not np.array_equal(alone, np.arange(20))


def test_labels_alike_in_groups_widen_the_shuffled_band() -> None:
    """The band of permuted labels is as wide as labels and features that go by groups make it."""
    given, groups = synthetic(planted=False), np.arange(240) // 20
    weights = np.random.default_rng(3).uniform(size=(12, LAYERS, HEADS))[groups] + 0.1 * given.weights
    rows = given.rows.assign(group=[f"g{one}" for one in groups])
    single, alike = (Examples(rows.assign(right=right), weights) for right in (given.rows["right"], groups % 2 == 0))
    spread = []
    for one in (single, alike):
        _, low, high = (float(value) for value in shuffled(one, folds_of(one, 3, 0), 5.0, 20, 0))
        spread.append(high - low)
    assert spread[1] > 1.5 * spread[0] > 0


def test_questions_that_share_a_constraint_share_a_group(tiny: Model) -> None:
    spans = (("subject", "Mary"),)
    tasks = [TaskPrompt(f"{words} Mary is", ("x",), spans, group=group) for words, group in
             (("the man", "p"), ("the woman", "q"))]  # fmt: skip
    tasks += [TaskPrompt("the man John is", ("x",), (("subject", "John"),), group="q"),
              TaskPrompt("the man Paul is", ("x",), (("subject", "Paul"),), group="r")]  # fmt: skip
    asked = asked_of(tiny, tasks, SatSpec(span_role="subject"))
    assert len({one.group for one in asked[:3]}) == 1, "Mary joins p and q"
    assert asked[3].group == "r"
    assert [one.group for one in joined(asked)] == [one.group for one in asked]


def test_the_wording_leaves_out_the_constraint_where_it_stands(tiny: Model) -> None:
    (one,) = asked_of(tiny, [TaskPrompt("the theory that he wrote is", ("x",), (("subject", "he"),))],
                      SatSpec(span_role="subject"))  # fmt: skip
    assert one.wording == "the theory that … wrote is"
