"""Folders that are damaged, unsafe, or say what a dictionary here cannot do: one line that names file and reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.dictionary_files import read_folder, read_saelens, read_sparsity, write_saelens
from hooks.dictionaries import Placed
from hooks.errors import InputError
from hooks.sites import Site
from tests.data.saes import WIDE, D, dictionary, draw

RESID = Site(3, "resid_post")
WEIGHTS = "sae_weights.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_saelens(Placed(dictionary("jumprelu"), RESID, RESID), tmp_path / "sae")
    return tmp_path / "sae"


def cfg(folder: Path, **keys: Any) -> None:
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def site(folder: Path, **keys: Any) -> None:
    cfg(folder, metadata=json.loads((folder / "cfg.json").read_text())["metadata"] | keys)


def tensors(folder: Path, **more: torch.Tensor | None) -> None:
    found = {name: one for name, one in (load_file(folder / WEIGHTS) | more).items() if one is not None}
    save_file(found, folder / WEIGHTS)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "whitening": (lambda f: cfg(f, normalize_activations="covariance_whitening"), "unknown normalize_activations 'cov"),
    "old norm": (lambda f: cfg(f, normalize_activations="constant_norm_rescale"), "'constant_norm_rescale'"),
    "unknown key": (lambda f: cfg(f, jump_twice=True), r"cfg.json has jump_twice.*--ignore jump_twice"),
    "scaling on": (lambda f: cfg(f, finetuning_scaling_factor=True), "finetuning_scaling_factor is on"),
    "training form": (lambda f: cfg(f, architecture="batchtopk"), "save_inference_model"),
    "architecture": (lambda f: cfg(f, architecture="jumprelo"), "did you mean 'jumprelu'"),
    "rescaled": (lambda f: cfg(f, rescale_acts_by_decoder_norm=True), "for topk alone"),
    "other width": (lambda f: cfg(f, d_in=D + 1), rf"{WEIGHTS}: W_enc is \(6, 17\), cfg.json says \(7, 17\)"),
    "no width": (lambda f: cfg(f, d_sae=None), "d_sae is None"),
    "k": (lambda f: cfg(f, architecture="topk", k=2.5), "k is 2.5"),
    "other tensors": (lambda f: cfg(f, architecture="standard"), "threshold is not part of a standard"),
    "missing tensor": (lambda f: tensors(f, threshold=None), "threshold is missing from a jumprelu"),
    "unknown tensor": (lambda f: tensors(f, W_extra=torch.ones(2)), f"{WEIGHTS} has W_extra"),
    "scaling factor": (lambda f: tensors(f, scaling_factor=torch.full((17,), 2.0)), "has scaling_factor"),
    "whole numbers": (lambda f: tensors(f, b_dec=torch.ones(D, dtype=torch.int8)), "b_dec is int8; known: float32"),
    "NaN": (lambda f: tensors(f, b_dec=torch.full((D,), float("nan"))), "sae: b_dec has NaN or infinity in 6 of 6"),
    "hook": (lambda f: site(f, hook_name="blocks.3.hook_resid_pots"), "did you mean 'blocks.L.hook_resid_post'"),
    "no hook": (lambda f: site(f, hook_name=None), "metadata has no hook_name"),
    "head": (lambda f: site(f, hook_head_index=2), "hook_head_index is set"),
    "z, not flattened": (lambda f: site(f, hook_name="blocks.3.attn.hook_z"), "hook_z belongs to hook_z"),
    "flattened, not z": (lambda f: cfg(f, reshape_activations="hook_z"), "belongs to hook_z and to it alone"),
    "not ours": (lambda f: site(f, interp_workbench={"model": 3}), "interp_workbench is not what is written there"),
    "half cfg": (lambda f: (f / "cfg.json").write_text('{"d_in": 6, "d_'), "cfg.json cannot be read: not JSON"),
    "list": (lambda f: (f / "cfg.json").write_text("[]"), "cfg.json holds list"),
    "no cfg": (lambda f: (f / "cfg.json").unlink(), f"cfg.json is missing.*the folder has {WEIGHTS}"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"{WEIGHTS} is missing.*the folder has cfg.json"),
    "half weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-40]), f"{WEIGHTS} is damaged"),
    "empty weights": (lambda f: (f / WEIGHTS).write_bytes(b""), f"{WEIGHTS} is damaged or half written"),
    "old activation": (lambda f: (f / "cfg.json").write_text(json.dumps({"d_in": 6, "activation_fn_str": "tanh-relu"})),
                       "activation_fn 'tanh-relu'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, folder: Path) -> None:
    spoil, said = WRONG[case]
    spoil(folder)
    with pytest.raises(InputError, match=said) as told:
        read_saelens(folder)
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_key_can_be_left_out_by_name(folder: Path) -> None:
    cfg(folder, jump_twice=True)
    assert read_saelens(folder, ignore=("jump_twice",)).reads == RESID


def test_pickles_are_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(folder / "sae_weights.pt")
    for given in (folder, folder / "sae_weights.pt"):
        with pytest.raises(InputError, match=r"sae_weights.pt is a pickle.*safetensors.torch.save_file"):
            read_folder(given)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "ae.ckpt").write_bytes(b"\x80\x04N.")
    with pytest.raises(InputError, match=r"ae\.ckpt is a pickle"):
        read_folder(tmp_path / "old")


def test_folders_without_a_dictionary(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither cfg.json \(SAELens\) nor config.yaml .* it has nothing"):
        read_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="is a file: give the folder"):
        read_folder(folder / "cfg.json")
    save_file({"density": torch.ones(3)}, folder / "sparsity.safetensors")
    with pytest.raises(InputError, match=r"sparsity\.safetensors must hold"):
        read_sparsity(folder)


def test_what_saelens_has_no_form_for_is_not_written(folder: Path, tmp_path: Path) -> None:
    read, out = Site(3, "ln2_normalized"), Site(3, "mlp_out")
    wrong = {
        "SAELens has no topk transcoder": Placed(dictionary("topk", centred=False), read, out),
        "SAELens has no transcoder with layer_norm": Placed(
            dictionary("standard", centred=False, layer_norm=True), read, out),
        "SAELens has no transcoder with b_dec subtracted": Placed(dictionary("standard"), read, out),
        "hook_z alone, not at k L3": Placed(dictionary("standard"), Site(3, "k"), Site(3, "k")),
        "not at L3H1 z": Placed(dictionary("standard"), Site(3, "z", 1), Site(3, "z", 1)),
        "not at z L3": Placed(dictionary("standard", WIDE, centred=False), Site(3, "z"), out),
    }  # fmt: skip
    for said, one in wrong.items():
        with pytest.raises(InputError, match=said):
            write_saelens(one, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    before = sorted(one.name for one in folder.iterdir())
    with pytest.raises(InputError, match=r"not an empty folder.*nothing is overwritten"):
        write_saelens(Placed(dictionary("standard"), RESID, RESID), folder)
    assert sorted(one.name for one in folder.iterdir()) == before
    with pytest.raises(InputError, match="unknown number format 'float8'"):
        write_saelens(Placed(dictionary("standard", W_dec=draw(17, D)), RESID, RESID), tmp_path / "new", dtype="float8")
