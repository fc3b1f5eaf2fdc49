"""circuit-tracer's sets: transposed encoders, hooks by layer, there and back, and what it has no form for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from data.dictionary_files import read_folder, read_transcoder_set, write_transcoder_set
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.sites import Site
from tests.data.saes import LATENTS, ROWS, D, dictionary, draw

KINDS: dict[str, dict[str, Any]] = {
    "standard": {}, "jumprelu": {"threshold": draw(LATENTS, seed=7).abs()},
    "with a skip": {"W_skip": draw(D, D, seed=8)},
}  # fmt: skip


def placed(layer: int, one: Dictionary) -> Placed:
    return Placed(one, Site(layer, "ln2_normalized"), Site(layer, "mlp_out"), {"name": "toy:random"})


def a_set(kind: str = "standard", layers: int = 3) -> list[Placed]:
    architecture = kind if kind in ("standard", "jumprelu") else "standard"
    return [
        placed(layer, dictionary(architecture, centred=False, b_dec=draw(D, seed=layer), **KINDS[kind]))
        for layer in range(layers)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_and_by_its_formula(kind: str, tmp_path: Path) -> None:
    ones, x = a_set(kind), draw(ROWS, D, seed=9)
    write_transcoder_set(ones[::-1], tmp_path / "out")
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (config["model_name"], config["model_kind"]) == ("toy:random", "transcoder_set")
    assert (config["feature_input_hook"], config["feature_output_hook"]) == ("ln2.hook_normalized", "hook_mlp_out")
    for layer, file in enumerate(config["transcoders"]):
        t = load_file(file)
        f = torch.nn.functional.linear(x, t["W_enc"], t["b_enc"])
        f = f * (f > t.get("activation_function.threshold", torch.tensor(0.0)))
        made = f @ t["W_dec"] + t["b_dec"] + (x @ t["W_skip"].T if "W_skip" in t else 0)
        assert torch.allclose(ones[layer].dictionary.reconstruct(x), made, atol=1e-4)
    back = read_folder(tmp_path / "out")
    for one, again in zip(ones, back, strict=True):
        assert (again.reads, again.writes) == (one.reads, one.writes)
        assert again.dictionary.settings() == one.dictionary.settings()
        for name, tensor in one.dictionary.tensors().items():
            assert torch.equal(again.dictionary.tensors()[name], tensor), name
    write_transcoder_set(back, tmp_path / "again")
    for file in ("layer_0.safetensors", "layer_2.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_a_folder_that_was_moved_and_half_precision(tmp_path: Path) -> None:
    write_transcoder_set(a_set(), tmp_path / "out", dtype="bfloat16", model_name="gpt2")
    (tmp_path / "out").rename(tmp_path / "moved")
    back = read_transcoder_set(tmp_path / "moved")
    assert (len(back), back[0].about["dtype"], back[0].about["model_name"]) == (3, "bfloat16", "gpt2")
    settings(tmp_path / "moved", transcoders=None)
    assert len(read_transcoder_set(tmp_path / "moved")) == 3
    write_transcoder_set(back, tmp_path / "again")
    file = "layer_1.safetensors"
    assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "moved" / file).read_bytes()


def test_topk_of_later_versions_is_read_and_told(tmp_path: Path) -> None:
    write_transcoder_set(a_set(), tmp_path)
    settings(tmp_path, activation="topk", k=3)
    read, x = read_transcoder_set(tmp_path)[2], draw(ROWS, D, seed=9)
    assert "negative values" in read.about["notes"][0]
    t = load_file(tmp_path / "layer_2.safetensors")
    f = torch.nn.functional.linear(x, t["W_enc"], t["b_enc"])
    top = f.topk(3)
    codes = torch.zeros_like(f).scatter(1, top.indices, top.values)
    enough = top.values[:, -1] > 0
    assert bool(enough.any())
    assert torch.allclose(read.dictionary.encode(x).to_dense()[enough], codes[enough], atol=1e-5)
    with pytest.raises(InputError, match=r"no transcoder with topk \(release 0.5 reads it as relu"):
        write_transcoder_set([read], tmp_path / "again", model_name="toy")


def settings(folder: Path, **keys: Any) -> None:
    path = folder / "config.yaml"
    told = yaml.safe_load(path.read_text()) | keys
    path.write_text(yaml.safe_dump({key: one for key, one in told.items() if one is not None}))


def tensors(folder: Path, **more: torch.Tensor) -> None:
    file = folder / "layer_1.safetensors"
    save_file(load_file(file) | {name.replace("__", "."): one for name, one in more.items()}, file)


WRONG: dict[str, tuple[Any, str]] = {
    "cross-layer": (lambda f: settings(f, model_kind="cross_layer_transcoder"), "unknown model_kind 'cross_layer"),
    "unknown key": (lambda f: settings(f, rotate=True), "config.yaml has rotate.*--ignore rotate"),
    "no model": (lambda f: settings(f, model_name=None), "does not say model_name"),
    "hook": (lambda f: settings(f, feature_input_hook="mlp.hook_in"), "feature_input_hook: unknown site 'blocks.0.mlp"),
    "elsewhere": (lambda f: settings(f, transcoders=["hf://a/b/layer_0.safetensors"]), "hf://a/b.* lies elsewhere"),
    "activation": (lambda f: settings(f, activation="gelu"), "unknown activation 'gelu'"),
    "k": (lambda f: settings(f, activation="topk", k=99), "k from 1 to d_sae = 17, got 99"),
    "two k": (lambda f: (settings(f, k=3), tensors(f, k=torch.tensor(4))), "layer_1.safetensors says k = 4"),
    "gap": (lambda f: (settings(f, transcoders=None), (f / "layer_1.safetensors").unlink()),
            "layer_1.safetensors is missing"),
    "half": (lambda f: (f / "layer_2.safetensors").write_bytes(b"\x00" * 20), "layer_2.safetensors is damaged"),
    "tensor": (lambda f: tensors(f, W_gate=torch.ones(2)), "layer_1.safetensors has W_gate"),
    "negative": (lambda f: (settings(f, activation=None),
                            tensors(f, activation_function__threshold=torch.full((LATENTS,), -1.0))), "is below 0"),
    "other threshold": (lambda f: tensors(f, activation_function__threshold=torch.ones(LATENTS)), "activation 'relu'"),
    "shape": (lambda f: tensors(f, b_enc=torch.ones(3)), r"layer_1.safetensors: b_enc must be \(17,\), got \(3,\)"),
    "not settings": (lambda f: (f / "config.yaml").write_text("- a\n- b\n"), "config.yaml holds list"),
    "broken": (lambda f: (f / "config.yaml").write_text("a: [b"), "config.yaml cannot be read"),
    "pickle": (lambda f: settings(f, transcoders=["layer_0.pt"]), "layer_0.pt"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_transcoder_set(a_set(), folder)
    spoil, said = WRONG[case]
    spoil(folder)
    with pytest.raises(InputError, match=said) as told:
        read_folder(folder)
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="a scale has no use"):
        read_folder(folder, scale=2.0)


def test_what_it_has_no_form_for_is_not_written(tmp_path: Path) -> None:
    plain = dictionary("standard", centred=False)
    wrong = {
        "with gates": [placed(0, dictionary("gated", centred=False))],
        "b_dec subtracted": [placed(0, dictionary("standard"))],
        "layer_norm": [placed(0, dictionary("standard", centred=False, layer_norm=True))],
        "with topk": [placed(0, dictionary("topk", centred=False, rescaled=True))],
        "threshold below 0": [placed(0, dictionary("jumprelu", centred=False))],
        "different widths": [placed(0, dictionary("standard", 9, centred=False))],
        "for layers 1, 2": [placed(1, plain), placed(2, plain)],
        "one number of latents; layers here have 17, 5": [placed(0, plain), placed(1, plain.prefix(5))],
        "one use of a skip; layers here have False, True": [
            placed(0, plain), placed(1, dictionary("standard", centred=False, W_skip=draw(D, D)))],
        "needs the model's name": [Placed(plain, Site(0, "resid_mid"), Site(0, "mlp_out"))],
    }  # fmt: skip
    for said, ones in wrong.items():
        with pytest.raises(InputError, match=said):
            write_transcoder_set(ones, tmp_path / "new")
        assert not (tmp_path / "new").exists()
