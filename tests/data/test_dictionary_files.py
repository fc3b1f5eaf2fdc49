"""SAELens folders: each architecture by its own formula, there and back bit for bit, and the flat form of old files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.dictionary_files import read_folder, read_saelens, read_sparsity, write_saelens
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.sites import Site
from tests.data.saes import LATENTS, ROWS, WIDE, D, dictionary, draw, stated

RESID, NORMED, OUT, Z = (Site(3, kind) for kind in ("resid_post", "ln2_normalized", "mlp_out", "z"))
SKIP = draw(WIDE, D, seed=8)
KINDS: dict[str, tuple[Dictionary, Site, Site]] = {
    "standard": (dictionary("standard"), RESID, RESID),
    "gated": (dictionary("gated"), RESID, RESID),
    "topk": (dictionary("topk"), RESID, RESID),
    "topk rescaled": (dictionary("topk", rescaled=True), RESID, RESID),
    "jumprelu": (dictionary("jumprelu"), RESID, RESID),
    "layer norm": (dictionary("jumprelu", layer_norm=True), RESID, RESID),
    "not centred": (dictionary("standard", centred=False), RESID, RESID),
    "heads side by side": (dictionary("gated"), Z, Z),
    "nested": (dictionary("jumprelu", prefixes=(4, LATENTS)), RESID, RESID),
    "transcoder": (dictionary("standard", WIDE, centred=False), NORMED, OUT),
    "skip_transcoder": (dictionary("standard", WIDE, centred=False, W_skip=SKIP), NORMED, OUT),
    "jumprelu_transcoder": (dictionary("jumprelu", WIDE, centred=False), NORMED, OUT),
    "jumprelu_skip_transcoder": (dictionary("jumprelu", WIDE, centred=False, W_skip=SKIP), NORMED, OUT),
}
MODEL = {"name": "toy:random", "revision": "0123"}


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_and_by_the_stated_formula(kind: str, tmp_path: Path) -> None:
    one = Placed(*KINDS[kind], MODEL, {"steps": 5})
    write_saelens(one, tmp_path / "out")
    cfg, tensors = cfg_of(tmp_path / "out"), load_file(tmp_path / "out" / "sae_weights.safetensors")
    assert cfg["architecture"] == (kind if kind.endswith("transcoder") else one.dictionary.architecture)
    assert cfg["reshape_activations"] == ("hook_z" if one.reads.kind == "z" else "none")
    x = 3 * draw(ROWS, D, seed=9) + 1
    codes, made = stated(cfg, tensors, x)
    back = read_saelens(tmp_path / "out")
    assert torch.allclose(back.dictionary.encode(x).to_dense(), codes, atol=1e-4)
    assert torch.allclose(back.dictionary.reconstruct(x), made, atol=1e-3)
    assert 0 < int((codes > 0).sum()) < codes.numel()
    assert back.dictionary.settings() == one.dictionary.settings()
    same_bits(back.dictionary.tensors(), one.dictionary.tensors())
    assert (back.reads, back.writes, back.model, back.about["steps"]) == (one.reads, one.writes, MODEL, 5)
    write_saelens(back, tmp_path / "again")
    assert cfg_of(tmp_path / "again") == cfg
    assert files(tmp_path / "again") == files(tmp_path / "out")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_number_format_is_kept_or_the_change_is_told(dtype: str, tmp_path: Path) -> None:
    write_saelens(Placed(*KINDS["jumprelu"]), tmp_path / "out", dtype=dtype)
    stored = load_file(tmp_path / "out" / "sae_weights.safetensors")
    assert {str(one.dtype) for one in stored.values()} == {f"torch.{dtype}"}
    if dtype == "float64":
        stored["W_enc"] = stored["W_enc"] + 1e-12
        save_file(stored, tmp_path / "out" / "sae_weights.safetensors")
    back = read_saelens(tmp_path / "out")
    assert all(one.dtype == torch.float32 for one in back.dictionary.tensors().values())
    if dtype == "float64":
        assert "rounded to float32" in back.about["notes"][0]
        return
    assert not back.about["notes"]
    write_saelens(back, tmp_path / "again")
    same_bits(load_file(tmp_path / "again" / "sae_weights.safetensors"), stored)
    loud = dictionary("standard", b_dec=torch.full((D,), 1e6))
    with pytest.raises(InputError, match="too large for float16"):
        write_saelens(Placed(loud, RESID, RESID), tmp_path / "loud", dtype="float16")


def test_metadata_that_is_not_ours_comes_back_as_it_was(tmp_path: Path) -> None:
    write_saelens(Placed(*KINDS["standard"]), tmp_path / "out")
    theirs = {"hook_name": RESID.name, "model_name": "gpt2", "neuronpedia_id": "gpt2/3-res", "l0": 31.5}
    change(tmp_path / "out", metadata=theirs | {"sae_lens_version": "6.1.0"}, device="cuda", l1_coefficient=5)
    read = read_saelens(tmp_path / "out")
    assert read.model == {}
    assert read.about["training"] == {"l1_coefficient": 5}
    write_saelens(read, tmp_path / "again")
    told = cfg_of(tmp_path / "again")["metadata"]
    assert {key: told[key] for key in theirs} == theirs
    assert read_saelens(tmp_path / "again").about["training"] == {"l1_coefficient": 5}


def test_nested_prefixes_of_a_matryoshka_training_are_known(tmp_path: Path) -> None:
    write_saelens(Placed(*KINDS["jumprelu"]), tmp_path)
    trained = {"training_architecture_details": {"matryoshka_widths": [4, 9]}}
    change(tmp_path, metadata={"hook_name": RESID.name, "sae_lens_version": "6.54.12"} | trained)
    assert read_saelens(tmp_path).dictionary.prefixes == (4, 9, LATENTS)
    assert read_saelens(tmp_path).about["metadata"]["training_architecture_details"] == {"matryoshka_widths": [4, 9]}


FLAT = {"d_in": D, "d_sae": LATENTS, "dtype": "torch.float32", "device": "cpu", "hook_point_layer": 3, "lr": 4e-4,
        "hook_point_head_index": None, "model_name": "gpt2", "use_ghost_grads": True, "context_size": 128}  # fmt: skip


@pytest.mark.parametrize("kind", ["standard", "topk", "gated", "jumprelu", "heads side by side"])
def test_the_flat_form_is_the_same_dictionary(kind: str, tmp_path: Path) -> None:
    one, site, _ = KINDS[kind]
    write_saelens(Placed(one, site, site), tmp_path)
    flat = FLAT | {"hook_point": site.name, "normalize_activations": False}
    if one.architecture == "topk":
        flat |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}
    elif one.architecture != "standard":
        flat |= {"architecture": one.architecture}
    (tmp_path / "cfg.json").write_text(json.dumps(flat))
    back = read_saelens(tmp_path)
    assert back.dictionary.settings() == one.settings()
    same_bits(back.dictionary.tensors(), one.tensors())
    assert back.reads == back.writes == site
    assert back.about["training"]["lr"] == 4e-4


def test_a_factor_of_activations_is_folded_into_the_weights(tmp_path: Path) -> None:
    one, x = dictionary("jumprelu"), draw(ROWS, D, seed=9)
    write_saelens(Placed(one, RESID, RESID), tmp_path)
    change(tmp_path, normalize_activations="expected_average_only_in")
    with pytest.raises(InputError, match="give it with --scale"):
        read_saelens(tmp_path)
    with pytest.raises(InputError, match="a scale of -1 cannot be"):
        read_saelens(tmp_path, scale=-1)
    given = read_saelens(tmp_path, scale=2.5)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 2.5}))
    for read in (given, read_saelens(tmp_path)):
        assert torch.allclose(read.dictionary.encode(x).to_dense(), one.encode(2.5 * x).to_dense(), atol=1e-4)
        assert torch.allclose(read.dictionary.reconstruct(x), one.reconstruct(2.5 * x) / 2.5, atol=1e-4)
        assert "2.5" in read.about["notes"][0]
    change(tmp_path, normalize_activations="none")
    with pytest.raises(InputError, match="a scale has no use"):
        read_saelens(tmp_path, scale=2.5)


def test_how_often_latents_fire_and_several_folders(tmp_path: Path) -> None:
    for kind in ("standard", "topk"):
        write_saelens(Placed(*KINDS[kind]), tmp_path / kind, density=torch.full((LATENTS,), 0.01))
    found = read_sparsity(tmp_path / "topk")
    assert found is not None
    assert torch.allclose(found, torch.full((LATENTS,), -2.0))
    assert [one.dictionary.architecture for one in read_folder(tmp_path)] == ["standard", "topk"]
    assert "not kept" in read_saelens(tmp_path / "topk").about["notes"][0]
    with pytest.raises(InputError, match="density must be"):
        write_saelens(Placed(*KINDS["topk"]), tmp_path / "more", density=torch.ones(3))
    assert not (tmp_path / "more").exists(), "a folder is whole or absent"


def cfg_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "cfg.json").read_text())


def change(folder: Path, **keys: Any) -> None:
    (folder / "cfg.json").write_text(json.dumps(cfg_of(folder) | keys))


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert torch.equal(one[name], other[name]), name
