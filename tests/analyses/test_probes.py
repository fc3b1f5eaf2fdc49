"""Probes: planted labels are read, random ones are not, and what an edit does to a probe is what it must do."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from analyses._contract import Context, Inputs
from analyses.probes import ANALYSIS, ProbesSpec, check, run
from analyses.probes.fitting import METHODS, any_of, fitted, k_sparse
from analyses.probes.kept import KIND, of_artifact
from analyses.probes.reading import Item, classed, vectors
from analyses.probes.scoring import (
    Predictions,
    control_hits,
    control_of,
    ece,
    folds_of,
    majority,
    predictions,
    reliability,
    selectivity,
)
from analyses.probes.study import accuracy
from data.artifacts import Artifact
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from interp.inputs import Request

CHANNELS = 12
TEXTS, LABELS = ANALYSIS.trial[0]["texts"], ANALYSIS.trial[0]["labels"]


def items(classes: list[tuple[str, ...]], group: int = 1) -> list[Item]:
    return [Item(n, f"text {n}", (n, n + 1), f"g{n // group}", one) for n, one in enumerate(classes)]


def planted(count: int = 120, classes: int = 3, apart: float = 6.0, seed: int = 0) -> tuple[np.ndarray, list]:
    """Rows around one mean a class; every other row shares a group with the one before, of the same class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(classes, size=count // 2), 2)
    x = rng.normal(size=(count, CHANNELS)) + apart * np.eye(CHANNELS)[labels]
    return x, [(f"c{one}",) for one in labels]


@pytest.mark.parametrize("method", METHODS)
def test_planted_labels_are_read_and_control_labels_are_not(method: str) -> None:
    x, classes = planted()
    given = classed(items(classes, 2), "label")
    folds = folds_of(given, 5, 0)
    assert all(len(set(folds[[n, n + 1]])) == 1 for n in range(0, len(x), 2)), "no group is in two folds"
    fit = partial(fitted, method=method, c=0.1)
    found = predictions(x, given.targets, folds, fit)
    assert found.hits.all()
    control = control_of(given, "group", 5, 3, 0)
    assert all((control.targets[:, n] == control.targets[:, n + 1]).all() for n in range(0, len(x), 2))
    own, drawn = control_hits(x, given, control, fit)
    assert own.mean() == 1
    assert selectivity(own, drawn, given.groups).low > 0.3


def test_random_labels_are_chance_and_types_that_never_recur_cannot_be_learnt() -> None:
    inside = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(80, CHANNELS))
        given = classed(items([(f"c{one}",) for one in rng.permutation(np.arange(80) % 2)]), "label")
        found = predictions(x, given.targets, folds_of(given, 5, seed), partial(fitted, method="logistic", c=0.1))
        _, low, high = accuracy(found.hits, given.groups)
        inside += low <= 0.5 <= high
    assert inside >= 9
    assert control_of(given, "group", 5, 2, 0).recurring == 0
    assert majority(given.targets).mean() == 0.5


def test_the_majority_is_the_commonest_class_of_all_rows() -> None:
    given = classed(items([("a",), ("b",), ("b",), ("c",), ("b",), ("a",), ("c",), ("b", "c")]), "label")
    assert majority(given.targets).tolist() == [False, True, True, False, True, False, False, True]


def test_the_loss_of_sets_is_softmax_regression_where_each_row_has_one_class() -> None:
    for wide in (CHANNELS, 200):
        rng = np.random.default_rng(1)
        x, labels = rng.normal(size=(60, wide)), rng.integers(3, size=60)
        weights, bias = any_of(x, np.eye(3, dtype=bool)[labels], 0.3)
        theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000).fit(x, labels)
        np.testing.assert_allclose(weights, theirs.coef_, atol=2e-3)
        np.testing.assert_allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=5e-3)


def test_any_of_several_classes_counts_and_aliases_are_one_class() -> None:
    given = classed(items([("Japan", "Nippon"), ("France",), ("Japan", "Nippon", "France"), ("France",),
                           ("Japan", "Nippon"), ("lonely",)]), "answer")  # fmt: skip
    assert given.classes == ("Japan", "France")
    assert given.left_out == 1
    assert given.targets.tolist() == [[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]]
    x = np.array([[1.0, 0], [-1, 0], [0, 1], [-1, 0], [1, 0]])
    probe = fitted(x, given.targets, "logistic", 10.0)
    assert given.targets[np.arange(5), probe.scores(x).argmax(axis=1)].all()


def test_a_k_sparse_probe_finds_the_planted_latent() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    latents = rng.exponential(size=(60, 40)) * (rng.random((60, 40)) < 0.2)
    latents[:, 17] = 3.0 * labels
    probe = k_sparse(latents, np.eye(2, dtype=bool)[labels], 1, 1.0)
    assert np.flatnonzero(probe.weights[1]).tolist() == [17]
    assert (probe.scores(latents).argmax(axis=1) == labels).all()


def test_calibration_by_hand() -> None:
    sure = np.array([0.95, 0.95, 0.55, 0.55])
    found = Predictions(np.stack([sure, 1 - sure], axis=1), np.zeros(4, int), np.array([True, True, False, True]))
    assert ece(found) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    table = reliability(found)
    assert table["bin"].tolist() == [5, 9]
    assert table["accuracy"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_add_up_and_the_subspace_decides_everything(method: str) -> None:
    x, classes = planted(classes=4, apart=1.0)
    given = classed(items(classes), "label")
    probe = fitted(x, given.targets, method, 0.1)  # type: ignore[arg-type]
    np.testing.assert_allclose(probe.probabilities(x).sum(axis=1), 1.0)
    basis = probe.subspace()
    assert len(basis) == 3
    scores = probe.scores(x - x @ basis.T @ basis)
    assert np.ptp(scores - scores[:, :1], axis=0).max() < 1e-8 * np.abs(probe.scores(x)).max()
    np.testing.assert_allclose(
        probe.directions()[1], probe.weights[1] - probe.weights[[0, 2, 3]].mean(axis=0), atol=1e-9
    )


def test_vectors_are_the_last_token_or_the_mean_without_the_first(any_tiny: Model) -> None:
    some = [Item(n, text, tuple(any_tiny.encode(text)), text, ()) for n, text in enumerate(TEXTS[:3])]
    for kind in ("resid_post", "z"):
        site = Site(1, kind)
        for position in ("last", "mean"):
            found = vectors(any_tiny, some, [site], position, Context(), (0, 1))[0][site]
            for row, one in zip(found, some, strict=True):
                states = run_with_cache(any_tiny, torch.tensor([one.ids]), [site])[site][0].flatten(1)
                wanted = states[-1] if position == "last" else states[1:].mean(dim=0)
                np.testing.assert_allclose(row, wanted.numpy(), atol=1e-4)


def test_texts_of_one_group_in_a_file_are_in_one_fold(tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": text, "label": label, "group": f"document {place // 4}"} | ({} if place else {"group": ""})
            for place, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    inputs = Request(file=str(path)).resolve(tiny, ANALYSIS)
    assert inputs.groups == ("", *(f"document {place // 4}" for place in range(1, len(TEXTS))))
    frames = run(tiny, inputs, ProbesSpec(layers=(1,), methods=("mass_mean",), folds=3, control_draws=1), Context())
    folds = frames["items"].groupby("group")["fold"]
    assert folds.nunique().tolist() == [1] * 5
    assert frames["baselines"]["groups"].iloc[0] == 5, "four documents and a text alone"
    figure = ANALYSIS.figures(frames, ProbesSpec())["accuracy"]
    low, high = figure.layout.yaxis.range
    assert low == 0 < min(shape.y0 for shape in figure.layout.shapes), "no line lies on the axis"
    assert max(shape.y0 for shape in figure.layout.shapes) < high
    path.write_text(json.dumps({"text": "a b", "label": "x", "group": 3}))
    with pytest.raises(InputError, match="group must be text"):
        Request(file=str(path)).resolve(tiny, ANALYSIS)


def test_probes_of_right_and_wrong_answers_and_of_answers(tiny: Model) -> None:
    inputs = Inputs.from_dict(ANALYSIS.trial[1])
    spec = ProbesSpec(methods=("logistic",), target="answer", layers=(1,), folds=2, control_draws=1, edits=("steer",),
                      amounts=(1.0,), random_draws=2)  # fmt: skip
    frames = run(tiny, inputs, spec, Context())
    assert set(frames["confusion"]["true"]) == {"and", "zzqxj"}
    assert frames["edits"]["answer_added"].notna().all()
    assert frames["baselines"]["control_of"].iloc[0] == "group"
    with pytest.raises(InputError, match="all one class"):
        run(tiny, inputs, ProbesSpec(target="right", new_tokens=1, folds=2), Context())


def test_what_is_refused(tiny: Model) -> None:
    texts = Inputs(texts=tuple(TEXTS), labels=tuple(LABELS))
    for inputs, options, words in (
        (Inputs(texts=tuple(TEXTS)), {}, "have no label"),
        (texts, {"target": "right"}, "texts have labels alone"),
        (texts, {"toward": "planet"}, "planet"),
        (texts, {"chosen_method": "k_sparse"}, "needs a kept dictionary"),
        (texts, {"methods": ("linear",), "chosen_method": "logistic"}, "not among the methods"),
        (texts, {"amounts": (0.0,)}, "other than 0"),
        (texts, {"layers": (99,)}, "99"),
        (texts, {"sparsities": (0,)}, "at least 1 latent"),
        (texts, {"layers": (0, 1), "chosen_layer": 2}, "valid are 0, 1"),
        (texts, {"sites": ("z", "mlp_out"), "chosen_site": "resid_post"}, "valid are z, mlp_out"),
        (Inputs.from_dict(ANALYSIS.trial[1]), {"target": "right", "toward": "park"}, "right, wrong"),
        (Inputs(texts=("a b", "a b"), labels=("x", "y")), {}, "one group"),
    ):
        with pytest.raises(InputError, match=words):
            check(tiny, inputs, ProbesSpec(**options))
    with pytest.raises(InputError, match="all one class"):
        run(tiny, Inputs(texts=tuple(TEXTS), labels=("x",) * len(TEXTS)), ProbesSpec(), Context())
    with pytest.raises(InputError, match="does not hold a probe"):
        of_artifact(Artifact("odd", KIND, {}, {}, "r"), tiny)
