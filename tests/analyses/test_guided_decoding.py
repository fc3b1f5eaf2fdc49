"""Guided decoding: a detector that knows picks right, ways share candidates, held-out tasks are held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses.guided_decoding import GuidedSpec, run
from analyses.guided_decoding.computing import CEILING, GREEDY, GUIDED, LIKELIEST, RANDOM, Candidate, picked
from analyses.guided_decoding.tables import differences_table, ordering_table, ways_table
from analyses.lookback_detector import LABELLED
from data.artifacts import Artifact
from hooks.errors import InputError
from hooks.model import Model
from hooks.tasks import TaskPrompt

TASKS = tuple(TaskPrompt.from_dict(one) for one in LABELLED)
SPEC = GuidedSpec(candidates=4, chunk=3, chunks=2, draw_seed=1)


def detector(model: Model, groups: list[str], bias: float = 0.0) -> Artifact:
    shape = model.geometry
    weights = torch.zeros(shape.n_layers, shape.n_heads, dtype=torch.float64)
    weights[0, 0] = 1.0
    meta = {"model": model.identity.name, "before": "context", "groups": groups}
    return Artifact("d", "lookback_detector", meta, {"weights": weights, "bias": torch.tensor([bias])}, "r")


def test_each_way_takes_its_best_candidate() -> None:
    many = [Candidate(0, (1,), 0.2, -3.0, False), Candidate(1, (2,), 0.9, -2.0, False),
            Candidate(2, (), float("nan"), float("nan"), True), Candidate(3, (4,), 0.1, -1.0, False)]  # fmt: skip
    assert [picked(many, way).number for way in (RANDOM, GUIDED, LIKELIEST)] == [0, 1, 3]
    assert picked(many[2:3], GUIDED).number == 2


def test_what_is_written_is_made_of_the_picked_candidates(tiny: Model) -> None:
    spec = SPEC.model_copy(update={"detector": "d"})
    frames = run(tiny, Inputs(tasks=TASKS), spec, Context(use={"detector": detector(tiny, [])}.__getitem__))
    candidates = frames["candidates"]
    for (task, after), part in candidates.groupby(["task", "after"]):
        assert len(part) == 4
        taken = part[part["picked_by"].str.contains(GUIDED)]
        if len(taken):
            assert float(taken["score"].iloc[0]) == part["score"].max(), (task, after)
        likely = part[part["picked_by"].str.contains(LIKELIEST)]
        if len(likely):
            assert float(likely["log_prob"].iloc[0]) == part["log_prob"].max()
    first = candidates[candidates["after"] == ""]
    assert first.groupby("task")["picked_by"].apply(lambda one: set(", ".join(filter(None, one)).split(", "))).map(
        lambda ways: ways == {RANDOM, GUIDED, LIKELIEST}).all(), "the first chunk is shared by every way"  # fmt: skip
    answers = frames["answers"].set_index(["task", "way"])
    for row in first[first["picked_by"].str.contains(GUIDED)].itertuples():
        assert answers.loc[(row.task, GUIDED), "said"].startswith(row.text)
    assert frames["fitted"]["left_out"].tolist() == [0]


def test_tasks_that_the_detector_was_fitted_on_are_left_out(tiny: Model) -> None:
    spec = SPEC.model_copy(update={"detector": "d"})
    use = {"detector": detector(tiny, ["Mary", "John"])}.__getitem__
    frames = run(tiny, Inputs(tasks=TASKS), spec, Context(use=use))
    assert set(frames["answers"]["group"]) == {"Paul", "Anna", "Emma", "Jack"}
    assert frames["fitted"]["left_out"].tolist() == [2]
    with pytest.raises(InputError, match="all 2 tasks: none is held out"):
        run(tiny, Inputs(tasks=TASKS[:2]), spec, Context(use=use))


def test_a_detector_fitted_here_sees_no_held_out_task(tiny: Model) -> None:
    frames = run(tiny, Inputs(tasks=TASKS), SPEC, Context())
    row = frames["fitted"].iloc[0]
    assert row["tasks"] + frames["answers"]["task"].nunique() == len(TASKS)
    assert row["right"] > 0
    assert row["wrong"] > 0
    assert set(frames["ways"]["candidates"]) == {1, 4}


def test_accuracy_differences_and_order_are_counted() -> None:
    hits = {GREEDY: [1, 0, 0, 0], RANDOM: [0, 0, 0, 0], LIKELIEST: [1, 0, 0, 1], GUIDED: [1, 1, 0, 1], CEILING: [1] * 4}
    answers = pd.DataFrame([
        {"task": task, "kind": "k", "group": str(task), "way": way, "candidates": 8, "right": bool(row[task])}
        for way, row in hits.items() for task in range(4)
    ])  # fmt: skip
    ways = ways_table(answers).set_index("way")
    assert ways.loc[GUIDED, "accuracy"] == 0.75
    assert ways.loc[CEILING, "high"] == 1.0
    table = differences_table(answers).set_index(["way", "against"])
    row = table.loc[(GUIDED, LIKELIEST)]
    assert (row["difference"], row["won"], row["lost"]) == (0.25, 1, 0)
    assert row["low"] < 0.25 < row["high"]
    candidates = pd.DataFrame({
        "task": [0, 0, 0, 1, 1], "after": "", "score": [0.9, 0.1, 0.2, 0.5, 0.5],
        "right": [True, False, False, True, False], "log_prob": [-3.0, -2.0, -1.0, -1.0, -2.0],
    })  # fmt: skip
    order = ordering_table(candidates, answers).set_index("score")
    assert order.loc[GUIDED, "share"] == pytest.approx(0.75)
    assert order.loc[LIKELIEST, "share"] == pytest.approx(0.5)
    nothing = ordering_table(candidates.assign(right=False), answers)
    assert nothing["texts"].tolist() == [0, 0]
    assert np.isnan(nothing["share"]).all()


def test_labels_of_one_class_and_one_group_are_refused(tiny: Model) -> None:
    good = tuple(task for task in TASKS if "wrong" not in dict(task.spans))
    with pytest.raises(InputError, match=r"all one class: \d+ right and 0 wrong"):
        run(tiny, Inputs(tasks=good), SPEC, Context())
    with pytest.raises(InputError, match="one task: a detector is fitted on one half"):
        run(tiny, Inputs(tasks=TASKS[:1]), SPEC, Context())
