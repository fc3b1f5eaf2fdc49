"""What is known of latents goes out and comes back: features of a run, labels of a dictionary."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from analyses._dictionaries.kept import KIND, contents
from analyses._dictionaries.labels import KIND as LABELS
from data.artifacts import load_artifact, save_artifact
from data.dictionary_files import read_features
from hooks.model import Model
from interp.cli_features import export_features, export_labels, import_labels
from interp.workbench import Workbench
from tests.analyses.planted_dictionary import TEXTS, planted


def said(command: click.Command, *words: object) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def _here(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERP_WORKSPACE", str(bench.workspace))


@pytest.fixture
def kept(bench: Workbench, tiny: Model) -> str:
    save_artifact(bench.workspace, "mine", KIND, *contents([planted(tiny)], {}))
    return "mine"


def test_features_and_labels_go_out_and_come_back(bench: Workbench, tiny: Model, kept: str, tmp_path: Path) -> None:
    spec = {"dictionary": kept, "write": ["3=colours"], "keep_as": "names"}
    done = bench.run("feature_browser", tiny, spec=spec, file=_texts(tmp_path))
    assert "12 features" in said(export_features, done.key, tmp_path / "features")
    source, features = read_features(tmp_path / "features")
    assert (source.model, source.layer) == (tiny.identity.name, "1-res-mine")
    assert sum(features[3].logits.heights) == tiny.geometry.d_vocab
    assert min(features[3].logits.values) > features[3].suppressed[0][1]
    assert max(features[3].logits.values) < features[3].promoted[0][1]
    assert [one.index for one in features] == list(range(12))
    assert features[3].explanations[0].description == "colours"
    row = done.frames["latents"].iloc[3]
    assert features[3].largest == pytest.approx(row["largest"])
    assert features[3].promoted[0] == (row["promoted"], pytest.approx(row["promoted_logit"]))
    assert max(features[3].examples[0].values) == pytest.approx(row["largest"], rel=1e-3)
    assert features[11].examples == ()
    file = tmp_path / "labels.jsonl"
    assert "1 labels" in said(export_labels, "names", kept, file)
    said(import_labels, file, kept, "--as", "again")
    first, again = (load_artifact(bench.workspace, one, LABELS) for one in ("names", "again"))
    assert {**first.meta, "run": ""} == {**again.meta, "run": ""}


def test_labels_of_other_features_are_refused(bench: Workbench, tiny: Model, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"revision": "another/site", "latents": 12}\n{"latent": 3, "label": "x"}\n')
    result = CliRunner().invoke(import_labels, [str(file), kept, "--as", "names"])
    assert "are for other features, another/site" in str(result.exception)
    result = CliRunner().invoke(import_labels, [str(tmp_path / "none"), kept, "--as", "names"])
    assert "cannot be read" in str(result.exception)
    result = CliRunner().invoke(import_labels, [str(file), kept, "--as", "names", "--layer", "2"])
    assert "it has layers 1" in str(result.exception)


def test_features_of_another_analysis_are_refused(bench: Workbench, tiny: Model, tmp_path: Path) -> None:
    done = bench.run("logit_lens", tiny, prompt="the red book")
    result = CliRunner().invoke(export_features, [done.key, str(tmp_path / "out")])
    assert "exported from a run of feature_browser" in str(result.exception)


def _texts(folder: Path) -> str:
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    return str(folder / "texts.txt")
