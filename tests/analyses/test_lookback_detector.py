"""The lookback detector: a planted head is found, shuffled labels are chance, halves share no group, labels hold.

More than 200 lines: the planted examples and the labelled tasks serve every test here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._stats import auroc, auroc_of_halves, influence
from analyses.lookback.reading import Item, Reading
from analyses.lookback_detector import (
    ANALYSIS,
    LABELLED,
    DetectorSpec,
    fitted_on,
    own_auroc,
    refuse_untested,
    run,
)
from analyses.lookback_detector.detector import KIND, detector_of, fitted
from analyses.lookback_detector.examples import Examples, examples
from analyses.lookback_detector.fitting import (
    ASKED,
    SHUFFLED,
    folds_of,
    head_table,
    scores_of,
    shuffled,
    trained_score,
    two_fold,
)
from analyses.lookback_detector.tables import scores_table
from data.artifacts import Artifact
from hooks.errors import InputError
from hooks.lookback import Region
from hooks.model import Model
from hooks.progress import silent
from hooks.tasks import TaskPrompt

LAYERS, HEADS, PLANTED = 3, 4, (1, 2)
TASKS = tuple(TaskPrompt.from_dict(one) for one in LABELLED)


def synthetic(count: int = 80, seed: int = 0, planted: bool = True) -> Examples:
    """Examples of two kinds in groups of two; where planted, one head's ratio says which are right."""
    rng = np.random.default_rng(seed)
    right = rng.permutation(np.arange(count) % 2 == 0)
    ratios = rng.uniform(0.2, 0.8, (count, LAYERS, HEADS))
    if planted:
        ratios[:, *PLANTED] = np.where(right, 0.9, 0.1) + rng.normal(0, 0.02, count)
    rows = pd.DataFrame({
        "task": range(count), "kind": np.where(np.arange(count) % 4 < 2, "one", "other"),
        "group": [f"g{place // 2}" for place in range(count)], "asked": "what is it",
        "right": right, "first": 0, "tokens": 4,
        "mean_ratio": ratios.mean(axis=(1, 2)), "entropy": rng.uniform(size=count),
        "log_prob": -rng.uniform(size=count),
    })  # fmt: skip
    return Examples(rows, ratios, rng.normal(size=(count, 2, 5)))


def reading(right: list[bool], number: int = 0) -> Reading:
    count = len(right)
    ratios = np.arange(count, dtype=float)[:, None, None] * np.ones((1, LAYERS, HEADS)) / 100
    return Reading(Item(number, (1, 2, 3), Region(0, 1), "t", ("x",)), list(range(count)), ratios, -np.ones(count),
                   np.ones(count), np.ones((count, 1, 2)), tuple(right), "said")  # fmt: skip


def test_a_planted_head_is_found_within_and_across_kinds() -> None:
    given = synthetic()
    table = scores_table(given, folds_of(given.rows, 42), (0, 2), 20, 0, silent)
    ours = table[table["method"] == "lookback detector"]
    assert set(zip(ours["trained"], ours["tested"], strict=True)) == {
        ("one", "one"), ("other", "other"), ("all", "all"), ("one", "other"), ("other", "one"),
    }  # fmt: skip
    assert ours["auroc"].min() > 0.99
    heads = head_table(given, fitted_on(given, "context").weights)
    best = heads.loc[heads["effect"].idxmax()]
    assert (best["layer"], best["head"]) == PLANTED
    assert best["auroc"] == 1.0
    assert list(zip(heads[heads["discovered"]]["layer"], heads[heads["discovered"]]["head"], strict=True)) == [PLANTED]
    chance = table[table["method"] == SHUFFLED]
    assert ((chance["low"] < 0.5) & (chance["high"] > 0.5)).all()


def test_permuted_labels_are_chance() -> None:
    found = shuffled(synthetic(), folds_of(synthetic().rows, 1), "all", 40, 3)
    assert found is not None
    assert found.low < 0.5 < found.high
    assert abs(found.value - 0.5) < 0.1
    unplanted = synthetic(planted=False)
    parts, why = two_fold(unplanted, folds_of(unplanted.rows, 1)[0], trained_score("ratios"), "all", "all")
    assert why == ""
    value, low, high = auroc_of_halves(parts)
    assert low < 0.5 < high
    assert low < value < high


def test_halves_share_no_group_and_a_scores_half_is_not_fitted_on() -> None:
    given = synthetic()
    folds = folds_of(given.rows, 42, 3)
    assert len({tuple(one) for one in folds}) == 3
    folds = folds[1]
    assert (given.rows.assign(half=folds).groupby("group")["half"].nunique() == 1).all()
    seen: list[tuple[set[str], set[str]]] = []

    def watch(train: Examples, test: Examples) -> np.ndarray:
        seen.append((set(train.rows["group"]), set(test.rows["group"])))
        return test.rows["mean_ratio"].to_numpy()

    two_fold(given, folds, watch, "one", "other")
    assert len(seen) == 2
    assert all(not train & test for train, test in seen)


def test_what_follows_from_the_question_alone_is_told() -> None:
    given = synthetic(planted=False)
    words = np.where(given.rows["right"], "where is it", "who has it")
    told = Examples(given.rows.assign(asked=words), given.ratios, given.states)
    for rows, value in ((told, 1.0), (given, 0.5)):
        parts, _ = two_fold(rows, folds_of(rows.rows, 0)[0], scores_of(())[ASKED], "all", "all")
        assert auroc_of_halves(parts).value == value


def test_the_interval_widens_with_likeness_in_groups_and_is_newcombes_without() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=40), np.arange(40) % 2 == 0
    alone = auroc_of_halves([(scores, labels, [str(one) for one in range(40)])])
    assert np.allclose(alone, auroc(scores, labels))
    twice = auroc_of_halves(
        [(np.repeat(scores, 3), np.repeat(labels, 3), [str(one) for one in np.repeat(np.arange(40), 3)])]
    )
    thrice = auroc(np.repeat(scores, 3), np.repeat(labels, 3))
    assert twice.high - twice.low > 1.4 * (thrice.high - thrice.low)
    moved = influence(scores, labels)
    assert moved.sum() == pytest.approx(0, abs=1e-12)


def test_spans_and_windows_are_cut_as_in_the_paper() -> None:
    wrong_inside = reading([True, True, False, True, False, True])
    spans = examples([wrong_inside], "span", 8).rows
    assert list(zip(spans["first"], spans["tokens"], spans["right"], strict=True)) == [
        (0, 2, True), (2, 2, False), (5, 1, True),
    ]  # fmt: skip
    assert np.allclose(examples([wrong_inside], "span", 8).ratios[1], 0.03), "tokens 2 and 4, joined"
    windows = examples([reading([True] * 3 + [False] + [True] * 6)], "window", 4).rows
    assert windows["right"].tolist() == [False] * 4 + [True] * 3
    assert examples([reading([True] * 3)], "window", 8).rows["tokens"].tolist() == [3]
    with pytest.raises(InputError, match="no generated tokens: in all 2 tasks"):
        examples([reading([]), reading([])], "span", 8)


def test_labelled_responses_are_read_and_labelled(tiny: Model) -> None:
    frames = run(tiny, Inputs(tasks=TASKS), DetectorSpec(shuffles=2), Context())
    answers = frames["answers"].set_index("task")
    assert answers["right"].tolist() == [True, True, False, False, True, False]
    assert answers["wrong_tokens"].tolist() == [0, 0, 1, 1, 0, 1]
    assert [said.strip() for said in answers["said"]][2] == "to the river"
    assert frames["kinds"][["right", "wrong", "without_answer"]].iloc[0].tolist() == [3, 3, 0]
    assert len(scores_of((1, 2))) == 8


def test_a_kept_detector_gives_the_same_probabilities(tiny: Model) -> None:
    kept: dict[str, Artifact] = {}

    def keep(name: str, kind: str, tensors: dict[str, torch.Tensor], meta: dict[str, object]) -> None:
        kept[name] = Artifact(name, kind, meta, tensors, "r")

    run(tiny, Inputs(tasks=TASKS), DetectorSpec(shuffles=2, keep_as="mine"), Context(keep=keep))
    assert kept["mine"].kind == KIND
    detector = detector_of(tiny, kept["mine"], "context")
    assert set(detector.groups) == {task.group for task in TASKS}
    features = np.random.default_rng(0).uniform(size=(5, tiny.geometry.n_layers, tiny.geometry.n_heads))
    by_hand = 1 / (1 + np.exp(-(features * detector.weights).sum((1, 2)) - detector.bias))
    assert np.allclose(detector.probability(features), by_hand)
    with pytest.raises(InputError, match="before = 'context'"):
        detector_of(tiny, kept["mine"], "left out")
    other = Artifact("mine", KIND, kept["mine"].meta, {"weights": torch.zeros(2, 2), "bias": torch.zeros(1)}, "r")
    with pytest.raises(InputError, match="reads 2 layers of 2 heads"):
        detector_of(tiny, other, "context")


def test_labels_of_one_class_are_refused_with_their_counts(tiny: Model) -> None:
    with pytest.raises(InputError, match="5 right and 0 wrong"):
        fitted(np.ones((5, 2)), [True] * 5)
    good = tuple(task for task in TASKS if "wrong" not in dict(task.spans))
    with pytest.raises(InputError, match=r"all one class: 3 right and 0 wrong answers"):
        run(tiny, Inputs(tasks=good), DetectorSpec(), Context())


def test_tasks_that_cannot_be_halved_or_cut_are_refused(tiny: Model) -> None:
    same = TaskPrompt("Mary went to the park", ("park",), (("context", "Mary went"),), group="Mary")
    with pytest.raises(InputError, match="2 tasks of one group"):
        ANALYSIS.check(tiny, Inputs(tasks=(TASKS[0], same)), DetectorSpec())
    whole = TaskPrompt("the red book", ("x",), (("context", "the red book"),))
    with pytest.raises(InputError, match=r"task 0: the context covers everything"):
        ANALYSIS.check(tiny, Inputs(tasks=(whole, TASKS[0])), DetectorSpec())
    with pytest.raises(InputError, match="cuts through"):
        ANALYSIS.check(tiny, Inputs(tasks=(TaskPrompt("the red book is", ("x",), (("context", "the re"),)), TASKS[0])),
                       DetectorSpec())  # fmt: skip
    with pytest.raises(InputError, match="unknown span 'passage'"):
        ANALYSIS.check(tiny, Inputs(tasks=TASKS), DetectorSpec(span_role="passage"))


def test_the_auroc_that_is_kept_is_that_of_all_kinds() -> None:
    table = pd.DataFrame([
        {"method": "lookback detector", "trained": trained, "tested": tested, "auroc": auroc, "right": 3, "wrong": 2}
        for trained, tested, auroc in (("one", "one", 0.9), ("other", "other", 0.8), ("all", "all", 0.7),
                                       ("one", "other", 0.6), ("other", "one", 0.5))
    ])  # fmt: skip
    assert own_auroc(table) == 0.7
    assert own_auroc(table[table["trained"] == "one"]) == 0.9
    refuse_untested(table)
    with pytest.raises(InputError, match=r"too few tasks: .* all: 3 right, 2 wrong"):
        refuse_untested(table.assign(auroc=np.nan))


def test_tasks_without_a_group_are_known_by_their_text() -> None:
    """Not by their place in a file: in another file that place holds another task."""
    first, again, other = (Item(number, (1, 2), Region(0, 1), text) for number, text in ((0, "a"), (5, "a"), (0, "b")))
    assert first.cluster == again.cluster != other.cluster
    assert Item(0, (1, 2), Region(0, 1), "a", group="g").cluster == "g"
