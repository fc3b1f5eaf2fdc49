"""Probes as they are kept and applied: ablation is chance, steering moves by its length, controls as far."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._dictionaries.kept import contents as dictionary_contents
from analyses._edits import Place, ProjectOut, Push, Redirected, random_units
from analyses.probes import ANALYSIS, ProbesSpec, run
from analyses.probes.applying import cells_of, read
from analyses.probes.computing import _refitted
from analyses.probes.fitting import Probe, fitted
from analyses.probes.kept import KIND, contents, of_artifact, placed
from analyses.probes.reading import Item, classed, vectors
from analyses.probes.scoring import predictions
from analyses.probes.study import Cell, kept_row
from data.artifacts import Artifact
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site

CHANNELS = 12
TEXTS, LABELS = ANALYSIS.trial[0]["texts"], ANALYSIS.trial[0]["labels"]


def items(classes: list[tuple[str, ...]], group: int = 1) -> list[Item]:
    return [Item(n, f"text {n}", (n, n + 1), f"g{n // group}", one) for n, one in enumerate(classes)]


def test_ablating_the_subspace_leaves_one_prediction_for_all_texts(tiny: Model) -> None:
    some = [Item(n, text, tuple(tiny.encode(text)), text, (LABELS[n],)) for n, text in enumerate(TEXTS)]
    given, site = classed(some, "label"), Site(1, "resid_post")
    x = vectors(tiny, some, [site], "mean", Context(), (0, 1))[0][site]
    probe = fitted(x, given.targets, "logistic", 1.0)
    assert given.targets[np.arange(len(x)), probe.scores(x).argmax(axis=1)].all()
    one = placed(probe, x, given, np.ones(len(x), bool), site, "mean", 1, "logistic")
    gone = ProjectOut(site, torch.from_numpy(probe.subspace()).float(), torch.from_numpy(one.centre).float())
    scores = np.stack([probe.scores(read(tiny, item.ids, one, [gone]).vector[None])[0] for item in some])
    gaps = scores[:, 1] - scores[:, 0]
    assert np.ptp(gaps) < 1e-3 * np.ptp(probe.scores(x)[:, 1] - probe.scores(x)[:, 0])
    assert given.targets[np.arange(len(x)), scores.argmax(axis=1)].mean() == 0.5, "chance"
    # A direction added moves the projection by its length, and the control moves the vector as far.
    length = 2.0 * (one.means[0] - one.means[1])
    push = Push(site, torch.from_numpy(one.direction * length).float())
    base, moved = read(tiny, some[0].ids, one, []), read(tiny, some[0].ids, one, [push])
    assert (moved.vector - base.vector) @ one.direction == pytest.approx(length, rel=1e-4)
    away = Redirected(site, push, random_units(tiny.geometry.d_model, 1, 0)[0])
    other = read(tiny, some[0].ids, one, [away])
    assert np.linalg.norm(other.vector - base.vector) == pytest.approx(abs(length), rel=1e-4)
    there = read(tiny, some[0].ids, one, [Place(site, torch.from_numpy(one.direction).float(), 3.0)])
    assert there.vector @ one.direction == pytest.approx(3.0, abs=1e-4)


def test_a_control_turns_round_where_the_edit_goes_against_the_direction() -> None:
    site, (along, away) = Site(0, "resid_post"), random_units(CHANNELS, 2, 0)
    rows = torch.linspace(-2, 2, 5)[None, :, None] * along + 0.5
    for amount in (3.0, -3.0):
        found = Redirected(site, Push(site, along * amount), away, along).moved(rows)
        torch.testing.assert_close(found, rows + amount * away)
    # Every token by itself: some lie on one side of where they are put, some on the other.
    middle = float((rows @ along).mean()) + 0.1
    gaps = middle - rows @ along
    assert gaps.min() < 0 < gaps.max()
    found = Redirected(site, Place(site, along, middle), away, along).moved(rows)
    torch.testing.assert_close(found, rows + gaps[..., None] * away)
    without = Redirected(site, Push(site, -3.0 * along), away).moved(rows)
    torch.testing.assert_close(without, rows + 3.0 * away)


def test_a_patch_gives_the_projection_of_the_other_side(tiny: Model) -> None:
    rng = np.random.default_rng(0)
    x, given = rng.normal(size=(6, tiny.geometry.d_model)), classed(items([("a",), ("b",)] * 3), "label")
    site = Site(1, "resid_post")
    every = np.ones(6, bool)
    one = placed(fitted(x, given.targets, "mass_mean", 0.1), x, given, every, site, "mean", 1, "mass_mean")
    assert one.means[0] > one.means[1] + 0.1, "the class that the direction speaks for lies further along"
    (patch,) = [cell for cell in cells_of(one, ProbesSpec(edits=("patch",))) if cell.arm == "probe"]
    ids = tiny.encode(TEXTS[0])
    for mine, there in ((True, one.means[1]), (False, one.means[0])):
        found = read(tiny, ids, one, [patch.make(mine)])
        assert found.vector @ one.direction == pytest.approx(there, abs=1e-4)


def test_edits_leave_the_first_token_alone() -> None:
    site, rows = Site(0, "resid_post"), torch.randn(1, 4, CHANNELS)
    changed = Push(site, torch.ones(CHANNELS)).edited(rows)
    assert torch.equal(changed[:, 0], rows[:, 0])
    assert torch.allclose(changed[:, 1:], rows[:, 1:] + 1)
    assert torch.allclose(Push(site, torch.ones(CHANNELS)).edited(rows[:, :1]), rows[:, :1] + 1), "a new token"


def kept_by(
    spec: ProbesSpec, tiny: Model, texts: list[str], labels: list[str], groups: tuple[str, ...] = (), **used: Artifact
) -> tuple:
    left: dict[str, Artifact] = {}

    def keep(name: str, kind: str, tensors: object, meta: object) -> None:
        left[name] = Artifact(name, kind, dict(meta), dict(tensors), "r")  # type: ignore[call-overload]

    context = Context(keep=keep, use=used.__getitem__)
    return run(tiny, Inputs(texts=tuple(texts), labels=tuple(labels), groups=groups), spec, context), left


def test_a_kept_probe_is_tested_on_new_texts_and_refused_for_another_model(tiny: Model) -> None:
    small = {"methods": ("mass_mean",), "layers": (1,), "control_draws": 1, "folds": 2}
    plain, left = kept_by(ProbesSpec(keep_as="mine", **small), tiny, TEXTS[:8], LABELS[:8])
    kept = left["mine"]
    assert kept.kind == KIND
    assert kept.meta["layer"] == 1
    again = of_artifact(kept, tiny)
    assert np.allclose(again.direction, kept.tensors["direction"].numpy())
    spec = ProbesSpec(probe="mine", edits=("ablate", "steer"), random_draws=2, **small)
    frames, _ = kept_by(spec, tiny, TEXTS, LABELS, probe=kept)
    assert sorted(frames["edits"]["item"].unique()) == list(range(8, 16)), "texts that it was fitted on are left out"
    for name in ("edits", "applied"):
        assert not len(plain[name])
        assert plain[name].dtypes.map(str).to_dict() == frames[name].dtypes.map(str).to_dict()
    (row,) = frames["scores"][frames["scores"]["method"] == "kept"].to_dict("records")
    assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    with pytest.raises(InputError, match="none of these texts is of a group that is new"):
        kept_by(spec, tiny, TEXTS[:8], LABELS[:8], probe=kept)
    other = replace(kept, meta=kept.meta | {"model": kept.meta["model"] | {"name": "another"}})
    with pytest.raises(InputError, match="of name 'another'; the loaded one has name 'toy:random'"):
        of_artifact(other, tiny)
    narrow = replace(kept, tensors=kept.tensors | {"weights": torch.zeros(2, 3, dtype=torch.float64)})
    with pytest.raises(InputError, match="reads 3 channels"):
        of_artifact(narrow, tiny)


def test_a_kept_probe_remembers_the_groups_that_it_was_fitted_on(tiny: Model) -> None:
    small = {"methods": ("mass_mean",), "layers": (1,), "control_draws": 1, "folds": 2}
    documents = tuple(f"document {place // 4}" for place in range(len(TEXTS)))
    _, left = kept_by(ProbesSpec(keep_as="mine", **small), tiny, TEXTS[:6], LABELS[:6], documents[:6])
    spec = ProbesSpec(probe="mine", edits=("ablate",), random_draws=2, **small)
    frames, _ = kept_by(spec, tiny, TEXTS, LABELS, documents, probe=left["mine"])
    assert sorted(frames["edits"]["item"].unique()) == list(range(8, 16)), "6 and 7 are of a document fitted on"
    with pytest.raises(InputError, match="none of these texts is of a group that is new"):
        kept_by(spec, tiny, TEXTS[:8], LABELS[:8], documents[:8], probe=left["mine"])


def test_what_ablation_leaves_is_beside_several_random_subspaces() -> None:
    rng = np.random.default_rng(0)
    classes = [(f"c{place % 2}",) for place in range(60)]
    x = rng.normal(size=(60, CHANNELS))
    x[:, 0] += [4.0 * (place % 2) for place in range(60)]
    given, site = classed(items(classes), "label"), Site(0, "resid_post")
    test = np.arange(60) < 30
    fit = partial(fitted, method="mass_mean", c=0.1)
    one = placed(fit(x[~test], given.targets[~test]), x, given, ~test, site, "mean", 1, "mass_mean")
    cell = Cell(site, "mass_mean", None, x, fit, predictions(x, given.targets, np.arange(60) % 3, fit))
    told = {}
    for draws in (2, 8):
        rows = {row["arm"]: row for row in _refitted(given, one, cell, test, ProbesSpec(random_draws=draws))}
        assert rows["nothing"]["mean"] > 0.8 > rows["probe"]["mean"] + 0.1
        told[draws] = rows["random_direction"]
    assert told[8]["low"] < told[8]["mean"] < told[8]["high"], "draws differ, and the interval is theirs"
    assert told[8]["mean"] != told[2]["mean"]
    assert rows["probe"]["mean"] < told[8]["low"]


def test_a_kept_probe_knows_a_class_by_any_of_its_names(tiny: Model) -> None:
    rng = np.random.default_rng(0)
    x, site = rng.normal(size=(8, tiny.geometry.d_model)), Site(0, "resid_post")
    x[:, 0] += [9.0 * (place % 2) for place in range(8)]
    given = classed(items([("France",), ("Japan", "Nippon")] * 4), "answer")
    every = np.ones(8, bool)
    one = placed(fitted(x, given.targets, "mass_mean", 0.1), x, given, every, site, "mean", 1, "mass_mean")
    renamed = classed(items([("France",), ("Nippon", "Japan")] * 4), "answer")
    assert renamed.classes == ("France", "Nippon")
    assert one.targets(renamed.items).tolist() == given.targets.tolist()
    assert kept_row(renamed, one, x, every)["accuracy"] == 1


def test_latents_of_a_kept_dictionary(tiny: Model) -> None:
    d, site = tiny.geometry.d_model, Site(1, "resid_post")
    eye = torch.eye(d)
    dictionary = Dictionary("standard", torch.cat([eye, -eye], 1), torch.cat([eye, -eye]), torch.zeros(d),
                            b_enc=torch.zeros(2 * d))  # fmt: skip
    tensors, meta = dictionary_contents([Placed(dictionary, site, site, tiny.identity.as_dict())], {})
    kept = Artifact("eye", "dictionary", meta, tensors, "r")
    spec = ProbesSpec(methods=("logistic",), layers=(0,), dictionary="eye", sparsities=(1, 4), control_draws=1)
    frames, _ = kept_by(spec, tiny, TEXTS, LABELS, dictionary=kept)
    scores = frames["scores"]
    assert set(scores.loc[scores["k"].notna(), "layer"]) == {1}
    assert scores["method"].tolist() == ["logistic", "k_sparse", "k_channels", "k_sparse", "k_channels"]
    assert len(frames["latents"]) == 2 * 4
    few = {"methods": ("logistic",), "layers": (0,), "dictionary": "eye"}
    for options, words in (({"sparsities": (1, 2 * d + 1)}, f"has {2 * d} latents"),
                           ({"chosen_method": "k_sparse", "chosen_layer": 0}, "valid are 1")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            kept_by(ProbesSpec(**few, **options), tiny, TEXTS, LABELS, dictionary=kept)
    bare, _ = kept_by(ProbesSpec(methods=("logistic",), layers=(0,), control_draws=1), tiny, TEXTS, LABELS)
    assert not len(bare["latents"])
    assert bare["latents"].dtypes.map(str).to_dict() == frames["latents"].dtypes.map(str).to_dict()
    wide = kept_by(ProbesSpec(**few, sparsities=(d + 1,), control_draws=1), tiny, TEXTS, LABELS, dictionary=kept)[0]
    assert wide["scores"]["method"].tolist() == ["logistic", "k_sparse"], "there are fewer channels than that"
    some = frames["latents"].iloc[0]
    items_ = [Item(n, text, tuple(tiny.encode(text)), text, ()) for n, text in enumerate(TEXTS)]
    placed_ = Placed(dictionary, site, site)
    latents = vectors(tiny, items_, [site], "mean", Context(), (0, 1), placed_)[1]
    assert latents is not None
    mine = np.array([label == some["class"] for label in LABELS])
    assert latents[mine, some["latent"]].mean() == pytest.approx(some["mean_in"], rel=1e-4)


def test_what_is_kept_says_everything_needed(tiny: Model) -> None:
    rng = np.random.default_rng(0)
    x, given = rng.normal(size=(6, tiny.geometry.d_model)), classed(items([("a",), ("b",)] * 3), "label")
    probe = Probe(rng.normal(size=(2, tiny.geometry.d_model)), np.zeros(2), "softmax")
    one = placed(probe, x, given, np.ones(6, bool), Site(0, "resid_post"), "last", 1, "linear")
    tensors, meta = contents(tiny, one, {"accuracy": 1.0})
    assert float(tensors["direction"].norm()) == pytest.approx(1.0)
    assert meta["class"] == "b"
    assert meta["site"] == "blocks.0.hook_resid_post"
    assert one.means[0] == pytest.approx(float((x[1::2] @ one.direction).mean()))
    assert one.means[1] == pytest.approx(float((x[::2] @ one.direction).mean()))
