"""Probes as they are kept and applied: ablation is chance, steering moves by its length, controls as far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._dictionaries.kept import contents as dictionary_contents
from analyses._edits import Place, ProjectOut, Push, Redirected, random_units
from analyses.probes import ANALYSIS, ProbesSpec, run
from analyses.probes.applying import read
from analyses.probes.fitting import Probe, fitted
from analyses.probes.kept import KIND, contents, of_artifact, placed
from analyses.probes.reading import Item, classed, vectors
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


def test_edits_leave_the_first_token_alone() -> None:
    site, rows = Site(0, "resid_post"), torch.randn(1, 4, CHANNELS)
    changed = Push(site, torch.ones(CHANNELS)).edited(rows)
    assert torch.equal(changed[:, 0], rows[:, 0])
    assert torch.allclose(changed[:, 1:], rows[:, 1:] + 1)
    assert torch.allclose(Push(site, torch.ones(CHANNELS)).edited(rows[:, :1]), rows[:, :1] + 1), "a new token"


def kept_by(spec: ProbesSpec, tiny: Model, texts: list[str], labels: list[str], **used: Artifact) -> tuple:
    left: dict[str, Artifact] = {}

    def keep(name: str, kind: str, tensors: object, meta: object) -> None:
        left[name] = Artifact(name, kind, dict(meta), dict(tensors), "r")  # type: ignore[call-overload]

    context = Context(keep=keep, use=used.__getitem__)
    return run(tiny, Inputs(texts=tuple(texts), labels=tuple(labels)), spec, context), left


def test_a_kept_probe_is_tested_on_new_texts_and_refused_for_another_model(tiny: Model) -> None:
    small = {"methods": ("mass_mean",), "layers": (1,), "control_draws": 1, "folds": 2}
    _, left = kept_by(ProbesSpec(keep_as="mine", **small), tiny, TEXTS[:8], LABELS[:8])
    kept = left["mine"]
    assert kept.kind == KIND
    assert kept.meta["layer"] == 1
    again = of_artifact(kept, tiny)
    assert np.allclose(again.direction, kept.tensors["direction"].numpy())
    spec = ProbesSpec(probe="mine", edits=("ablate", "steer"), random_draws=2, **small)
    frames, _ = kept_by(spec, tiny, TEXTS, LABELS, probe=kept)
    assert sorted(frames["edits"]["item"].unique()) == list(range(8, 16)), "texts that it was fitted on are left out"
    (row,) = frames["scores"][frames["scores"]["method"] == "kept"].to_dict("records")
    assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    with pytest.raises(InputError, match="none of these texts is new"):
        kept_by(spec, tiny, TEXTS[:8], LABELS[:8], probe=kept)
    other = replace(kept, meta=kept.meta | {"model": kept.meta["model"] | {"name": "another"}})
    with pytest.raises(InputError, match=r"'another' \(here 'toy:random'\)"):
        of_artifact(other, tiny)
    narrow = replace(kept, tensors=kept.tensors | {"weights": torch.zeros(2, 3, dtype=torch.float64)})
    with pytest.raises(InputError, match="reads 3 channels"):
        of_artifact(narrow, tiny)


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
