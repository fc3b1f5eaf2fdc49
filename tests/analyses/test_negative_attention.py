"""Negative attention: swapping the candidates flips the sign, scores equal the definition, masking is knockout."""

from __future__ import annotations

from itertools import islice
from random import Random

import numpy as np
import pandas as pd
import pytest

from analyses._contract import Inputs
from analyses.negative_attention import ANALYSIS, NegativeSpec
from analyses.negative_attention.computing import choose, odds_when_masked, questions_of, read, score
from analyses.negative_attention.tables import ACCURACY, ODDS, SAID_NO, bias_table, effects_table
from data.sets.yes_no import candidates
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from hooks.tasks import TaskPrompt

TASK = TaskPrompt("Say Yes or No. Is the red book on the table? Answer:", ("No",), (("yes", "Yes"), ("no", "No")))
SPEC = NegativeSpec(final=2)


def swapped(task: TaskPrompt) -> TaskPrompt:
    """The same prompt, the roles of the candidates exchanged."""
    spans = dict(task.spans)
    return TaskPrompt(task.text, task.answers, (("yes", spans["no"]), ("no", spans["yes"])))


def test_swapping_the_candidates_flips_the_sign(any_tiny: Model) -> None:
    one, other = questions_of(any_tiny, [TASK, swapped(TASK)], SPEC)
    (found, mass, odds), (back, same, opposite) = (read(any_tiny, each) for each in (one, other))
    assert np.allclose(found, -back, rtol=1e-12, atol=1e-15)
    assert np.allclose(mass, same, rtol=1e-12)
    assert odds == -opposite
    assert np.abs(found).max() > 0
    assert (one.no_true, other.no_true) == (True, False)


def test_the_score_is_its_definition(any_tiny: Model) -> None:
    one = questions_of(any_tiny, [TASK], SPEC)[0]
    sites = [Site(layer, "pattern") for layer in range(any_tiny.geometry.n_layers)]
    cache = run_with_cache(any_tiny, any_tiny.tokens(TASK.text), sites)
    found, _, odds = read(any_tiny, one)
    for layer, site in enumerate(sites):
        rows = cache[site][0, :, -2:].double().numpy()
        yes, no = (rows[:, :, list(places)].sum(-1) for places in (one.yes, one.no))
        assert np.allclose(found[layer], ((yes + no) * np.log(no / yes)).sum(-1), atol=1e-4)
    logits = cache.logits[0, -1]
    assert odds == pytest.approx(float(logits[one.tokens[1]] - logits[one.tokens[0]]), abs=1e-4)


def test_scores_by_hand() -> None:
    assert score(np.array([0.2, 0.2]), np.array([0.2, 0.2])) == 0.0
    assert score(np.array([0.1]), np.array([0.3])) == pytest.approx(0.4 * np.log(3))
    assert np.isfinite(score(np.array([0.0]), np.array([1.0])))
    assert score(np.array([0.0]), np.array([0.0])) == 0.0


def test_masking_is_the_knockout_written_out(tiny: Model) -> None:
    one = questions_of(tiny, [TASK], SPEC)[0]
    plain = read(tiny, one)[2]
    assert odds_when_masked(tiny, one, [], one.no) == pytest.approx(plain, abs=1e-4)
    every = [(layer, head) for layer in range(tiny.geometry.n_layers) for head in range(tiny.geometry.n_heads)]
    assert odds_when_masked(tiny, one, every, one.no) != pytest.approx(plain, abs=1e-4)


def test_heads_are_chosen_in_the_other_half(tiny: Model) -> None:
    tasks = [TaskPrompt(TASK.text, TASK.answers, TASK.spans, group=f"g{place}") for place in range(4)]
    questions = questions_of(tiny, tasks, SPEC)
    plain = choose(np.zeros((4, 2, 3)), questions, 1, 2, 0)
    scores = np.zeros((4, 2, 3))
    for place, one in enumerate(questions):
        scores[place, 0, plain.half[one.number]] = 1.0
    found = choose(scores, questions, 1, 2, 0)
    assert found.top == ([(0, 1)], [(0, 0)]), "half 0 is tried with what half 1 shows"
    many = choose(np.random.default_rng(0).normal(size=(4, 4, 5)), questions, 10, 8, 0)
    for some in (found, many):
        assert all(len(heads) == len(top) and not set(heads) & set(top)
                   for top, sets in zip(some.top, some.random, strict=True) for heads in sets)  # fmt: skip


def test_bias_and_effects_by_hand() -> None:
    tasks = pd.DataFrame({"no_true": [True, False, True, False], "odds": [1.0, 1.0, 1.0, -1.0],
                          "group": list("abcd")})  # fmt: skip
    tasks = tasks.assign(said_no=tasks["odds"] > 0, right=(tasks["odds"] > 0) == tasks["no_true"])
    bias = bias_table(tasks).set_index(["truth", "measure"])["value"]
    assert bias["all", SAID_NO] == bias["all", ACCURACY] == 0.75
    assert bias["yes is true", SAID_NO] == bias["yes is true", ACCURACY] == 0.5
    masked = pd.DataFrame({"prompt": range(4), "arm": "a", "odds": [1.0, -1.0, 1.0, -1.0]})
    effects = effects_table(tasks, masked).set_index("measure")
    assert [float(effects[name][ACCURACY]) for name in ("plain", "edited", "difference")] == [0.75, 1.0, 0.25]
    assert effects.loc[SAID_NO, "difference"] == -0.25
    assert effects.loc[ODDS, "difference"] == -0.5


def test_the_set_is_balanced_and_true() -> None:
    made = list(islice(candidates(Random(3), None), 240))  # type: ignore[arg-type]
    assert len({task.text for task in made}) == 240
    assert sum(task.gold == "No" for task in made) == 120
    assert sum(task.text.startswith("Answer with No or Yes") for task in made) == 120
    for task in made:
        words = task.span("question").strip("?").split()
        if task.label == "sum":
            assert (int(words[1]) + int(words[3]) == int(words[-1])) == (task.gold == "Yes")
        if task.label == "greater":
            assert (int(words[1]) > int(words[-1])) == (task.gold == "Yes")
    assert made == list(islice(candidates(Random(3), None), 240))  # type: ignore[arg-type]


def test_bad_tasks_are_refused(tiny: Model) -> None:
    with pytest.raises(InputError, match="unknown span 'no'"):
        questions_of(tiny, [TaskPrompt("Yes or No", ("No",), (("yes", "Yes"),))], SPEC)
    with pytest.raises(InputError, match="'maybe' is not one of the candidates"):
        questions_of(tiny, [TaskPrompt(TASK.text, ("maybe",), TASK.spans)], SPEC)
    with pytest.raises(InputError, match="reach back to a candidate"):
        questions_of(tiny, [TASK], NegativeSpec(final=40))
    with pytest.raises(InputError, match="begin with the same token"):
        questions_of(tiny, [TaskPrompt(TASK.text, ("No",), (("yes", "No"), ("no", "No")))], SPEC)
    with pytest.raises(InputError, match="1 tasks of one group"):
        ANALYSIS.check(tiny, Inputs(tasks=(TASK,)), SPEC)
    with pytest.raises(InputError, match="valid are 1 to"):
        ANALYSIS.check(tiny, Inputs(tasks=(TASK, swapped(TASK), TaskPrompt(TASK.text + " ", ("No",), TASK.spans))),
                       NegativeSpec(final=2, top_heads=500))  # fmt: skip
