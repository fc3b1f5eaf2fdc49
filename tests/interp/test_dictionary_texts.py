"""Texts that a dictionary was trained on are known again, from given texts and captures, however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._dictionaries.at_hand import AtHand, at_hand
from analyses._dictionaries.seen import NAME, WINDOW, hashes_of, runs_of, was_seen
from analyses.dictionary_metrics import MetricsSpec
from analyses.train_dictionary import ANALYSIS, TrainSpec
from data.artifacts import Artifact
from data.captures import CaptureReader, open_capture
from hooks.errors import InputError
from hooks.model import Model
from hooks.plan import CapturePlan
from hooks.sites import Site
from interp.captures import capture
from interp.workbench import Workbench

WORDS = "the red book is on the table and one man went to the park with a small dog who saw two trees by the old house"
TEXTS = tuple(" ".join(f"{word} {number} {place}" for place, word in enumerate(WORDS.split())) for number in range(8))
NEW = tuple(" ".join(reversed(text.split())) for text in TEXTS[:2])
SPEC = TrainSpec(latents=24, active=3, length=20, steps=3, batch=32, points=2, keep_as="mine", held_out=0.25)


def trained(model: Model, inputs: Inputs, spec: TrainSpec = SPEC, **used: Any) -> Artifact:
    kept: list[Artifact] = []

    def keep(name: str, kind: str, tensors: Any, meta: Any) -> None:
        kept.append(Artifact(name, kind, dict(meta), dict(tensors), "r1"))

    ANALYSIS.run(model, inputs, spec, Context(keep=keep, use=used.__getitem__))
    return kept[0]


def captured(model: Model, bench: Workbench, plan: CapturePlan, name: str) -> CaptureReader:
    capture(bench, model, name, TEXTS, plan)
    return open_capture(bench.store, name)


def looked_at(model: Model, artifact: Artifact, texts: tuple[str, ...], length: int = 128) -> AtHand:
    spec = MetricsSpec(dictionary="mine", length=length)
    return at_hand(model, Inputs(texts=texts), spec, Context(use={"dictionary": artifact}.__getitem__), 1.0)


def test_windows_are_known_wherever_a_text_begins() -> None:
    text = torch.randint(0, 900, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    known = hashes_of([text, [5, 6, 7]])
    assert len(known) == 200 - WINDOW + 2
    assert was_seen(text[37:90], known)
    assert was_seen([5, 6, 7], known)
    assert not was_seen([5, 6], known)
    assert not was_seen([5, 6, 7, 0], known), "what fills up a short text is no token"
    assert not was_seen(text[::-1], known)
    half = text[:60] + [one + 1000 for one in text[60:100]]
    assert was_seen(half, known)
    assert not was_seen(text[:40] + [one + 1000 for one in text[40:100]], known)
    assert runs_of([7, 8, 9, 4], [2, 3, 5, 6]) == [[7, 8], [9, 4]]


def test_trained_texts_are_left_out_and_counted(tiny: Model) -> None:
    """Trained on in pieces of 20 tokens; looked at in other pieces, as parts, in another order, among new ones."""
    artifact = trained(tiny, Inputs(texts=TEXTS))
    assert artifact.tensors[NAME].dtype == torch.int32
    whole = looked_at(tiny, artifact, (*NEW, *TEXTS), 33)
    held = len(TEXTS) - 6
    documents = {whole.corpus.documents[one] for one in whole.texts}
    assert {1, 2} < documents
    assert len(documents) == 2 + held
    assert "; 6 more were trained on and left out" in whole.words
    taught = [place for place in range(len(TEXTS)) if place + 3 not in documents]
    for place in taught:
        part = " ".join(TEXTS[place].split()[11:])
        assert looked_at(tiny, artifact, (NEW[0], part)).words.endswith("; 1 more was trained on and left out")
    assert looked_at(tiny, artifact, NEW).words.endswith("; none was trained on")
    with pytest.raises(InputError, match=r"trained on all of these 2 texts"):
        looked_at(tiny, artifact, (TEXTS[taught[0]], TEXTS[taught[1]]))


def test_texts_of_a_capture_are_known_too(tiny: Model, bench: Workbench) -> None:
    plan = CapturePlan((Site(1, "resid_post"),), "all")
    reader = captured(tiny, bench, plan, "mine")
    artifact = trained(tiny, Inputs(prompt="x"), SPEC.model_copy(update={"capture": "mine"}), capture=reader)
    found = looked_at(tiny, artifact, (*NEW, *TEXTS))
    assert "; 6 more were trained on and left out" in found.words


def test_a_capture_of_statistics_is_refused_early(tiny: Model, bench: Workbench) -> None:
    plan = CapturePlan((Site(1, "resid_post"),), "all", keep="statistics")
    reader = captured(tiny, bench, plan, "numbers")
    with pytest.raises(InputError, match=r"--keep statistics.*--keep values, at blocks.1.hook_resid_post"):
        trained(tiny, Inputs(prompt="x"), SPEC.model_copy(update={"capture": "numbers"}), capture=reader)


def test_a_capture_of_another_model_is_refused(tiny: Model, bench: Workbench) -> None:
    reader = captured(tiny, bench, CapturePlan((Site(1, "resid_post"),), "all"), "mine")
    reader.model["revision"] = "another"
    with pytest.raises(InputError, match=r"'mine' is of another model \(.*revision 'another'"):
        trained(tiny, Inputs(prompt="x"), SPEC.model_copy(update={"capture": "mine"}), capture=reader)
