"""`interp dictionaries`: what other tools wrote is kept, listed, used by a run, and written for them again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from analyses._dictionaries.kept import KIND, contents, one_of
from data.artifacts import load_artifact, save_artifact
from data.dictionary_files import read_saelens, write_saelens, write_transcoder_set
from hooks.dictionaries import Dictionary, Placed
from hooks.model import Model
from hooks.sites import Site
from interp.workbench import Workbench
from tests.interp.conftest import Terminal

LATENTS = 12


def autoencoder(tiny: Model, layer: int = 1, seed: int = 0) -> Placed:
    random, d = torch.Generator().manual_seed(seed), tiny.geometry.d_model
    one = Dictionary(
        "jumprelu", torch.randn(d, LATENTS, generator=random), torch.randn(LATENTS, d, generator=random),
        torch.randn(d, generator=random), torch.randn(LATENTS, generator=random), torch.rand(LATENTS, generator=random),
    )  # fmt: skip
    return Placed(one, Site(layer, "resid_post"), Site(layer, "resid_post"))


def transcoder(tiny: Model, layer: int) -> Placed:
    one = autoencoder(tiny, layer, layer).dictionary
    settings = one.settings() | {"centred": False}
    return Placed(Dictionary.of(one.tensors(), settings), Site(layer, "ln2_normalized"), Site(layer, "mlp_out"))


def test_a_folder_is_kept_used_and_written_again(
    interp: Terminal, bench: Workbench, tiny: Model, tmp_path: Path
) -> None:
    one = autoencoder(tiny)
    write_saelens(one, tmp_path / "sae", dtype="bfloat16", density=torch.full((LATENTS,), 0.1))
    result = interp("dictionaries", "import", str(tmp_path / "sae"), "--as", "mine", "--model", "toy:random", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["model"] == "toy:random"
    assert "sparsity.safetensors is not kept" in result.stderr
    kept = one_of(load_artifact(bench.workspace, "mine", KIND), tiny, 1)
    assert torch.equal(kept.dictionary.W_enc, one.dictionary.W_enc.bfloat16().float())
    assert (kept.reads, kept.model) == (Site(1, "resid_post"), tiny.identity.as_dict())
    listed = json.loads(interp("dictionaries", "list", "--json").stdout)
    assert [(row["name"], row["model"], row["architecture"], row["reads"]) for row in listed] == [
        ("mine", "toy:random", "jumprelu", "blocks.1.hook_resid_post")
    ]
    result = interp("dictionaries", "export", "mine", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    assert "cfg.json, sae_weights.safetensors" in result.stdout
    weights = "sae_weights.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (tmp_path / "sae" / weights).read_bytes()
    assert read_saelens(tmp_path / "out").model == tiny.identity.as_dict()


def test_several_layers_and_both_forms(interp: Terminal, tiny: Model, tmp_path: Path) -> None:
    write_transcoder_set([transcoder(tiny, layer) for layer in range(3)], tmp_path / "set", model_name="toy:random")
    told = interp("dictionaries", "import", str(tmp_path / "set"), "--as", "three")
    assert told.exit_code == 0, told.stderr
    assert "3 dictionaries" in told.stdout
    assert "blocks.2.ln2.hook_normalized to blocks.2.hook_mlp_out: jumprelu, 12 latents" in told.stdout
    for words, expected in (
        (("--format", "circuit-tracer"), ["config.yaml", "layer_0", "layer_1", "layer_2"]),
        ((), [f"blocks.{layer}.ln2.hook_normalized/cfg.json" for layer in range(3)]),
        (("--layer", "2"), ["cfg.json", "sae_weights"]),
    ):
        folder = tmp_path / f"out{len(expected)}"
        result = interp("dictionaries", "export", "three", str(folder), *words)
        assert result.exit_code == 0, result.stderr
        assert all(name in result.stdout for name in expected)
        back = interp("dictionaries", "import", str(folder), "--as", folder.name, "--model", "toy:random", "--json")
        assert len(json.loads(back.stdout)["dictionaries"]) == (1 if "--layer" in words else 3), back.stderr
        folder.rename(tmp_path / f"done{words}")


def test_what_is_wrong_is_one_line(interp: Terminal, bench: Workbench, tiny: Model, tmp_path: Path) -> None:
    one = autoencoder(tiny)
    write_saelens(one, tmp_path / "sae")
    wide = Dictionary("standard", torch.randn(5, 9), torch.randn(9, 5), torch.randn(5), torch.randn(9))
    write_saelens(Placed(wide, one.reads, one.writes), tmp_path / "wide")
    write_saelens(Placed(one.dictionary, one.reads, one.writes, {"name": "gpt2"}), tmp_path / "other")
    for name in ("a", "b"):
        write_saelens(Placed(one.dictionary, one.reads, one.writes, {"name": name}), tmp_path / "two" / name)
    save_artifact(bench.workspace, "taken", KIND, *contents([one], {}))
    save_artifact(bench.workspace, "probe", "probe", {"w": torch.ones(2)}, {})
    (tmp_path / "sae.pt").write_bytes(b"\x80")
    take = ("dictionaries", "import")
    for words, said in {
        (*take, str(tmp_path / "sae"), "--as", "taken"): "'taken' is kept already: choose another name, or --replace",
        (*take, str(tmp_path / "sae"), "--as", "No Name"): "artifact name 'No Name'",
        (*take, str(tmp_path / "none"), "--as", "x"): "none does not exist",
        (*take, str(tmp_path / "sae.pt"), "--as", "x"): "is a pickle",
        (*take, str(tmp_path / "sae"), "--as", "x", "--scale", "2"): "a scale has no use",
        (*take, str(tmp_path / "wide"), "--as", "x", "--model", "toy:random"): "reads 5 channels",
        (*take, str(tmp_path / "other"), "--as", "x", "--model", "toy:random"): "made for a model of name 'gpt2'",
        (*take, str(tmp_path / "two"), "--as", "x"): "dictionaries of several models",
        ("dictionaries", "export", "probe", str(tmp_path / "x")): "'probe' is a probe, not a dictionary",
        ("dictionaries", "export", "taken", str(tmp_path / "sae")): "nothing is overwritten",
        ("dictionaries", "export", "taken", str(tmp_path / "x"), "--layer", "2"): "none for layer 2; it has layers 1",
        ("dictionaries", "export", "taken", str(tmp_path / "x"), "--format", "saelense"): "did you mean 'saelens'",
        ("dictionaries", "export", "taken", str(tmp_path / "x"), "--format", "circuit-tracer"): "b_dec subtracted",
    }.items():
        result = interp(*words)
        assert result.exit_code == 2, words
        assert said in result.stderr, result.stderr
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in result.stderr
    assert {row["name"] for row in json.loads(interp("artifacts", "--json").stdout)} == {"taken", "probe"}
    again = interp(*take, str(tmp_path / "sae"), "--as", "taken", "--replace")
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize("command", ["", "list", "import", "export"])
def test_help(interp: Terminal, command: str) -> None:
    result = interp("dictionaries", *command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: interp dictionaries" in result.stdout


def test_a_trained_dictionary_tells_how_its_text_was_read(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    small = ("--latents", "24", "--active", "3", "--drawn", "200", "--length", "8", "--steps", "4", "--points", "2")
    started = ("run", "train_dictionary", "--model", "toy:random", "--prompt", "x", *small)
    result = interp(*started, "--keep-as", "mine")
    assert result.exit_code == 0, result.stderr
    result = interp("dictionaries", "export", "mine", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    told = json.loads((tmp_path / "out" / "cfg.json").read_text())["metadata"]
    assert (told["context_size"], told["seqpos_slice"]) == (8, [1, None])
    assert isinstance(told["prepend_bos"], bool)
    assert read_saelens(tmp_path / "out").about["metadata"]["context_size"] == 8
    result = interp(*started, "--kind", "cross_layer", "--layers", "0", "--layers", "1", "--keep-as", "clt")
    assert result.exit_code == 0, result.stderr
    rows = {row["name"]: row for row in json.loads(interp("dictionaries", "list", "--json").stdout)}
    assert (rows["clt"]["architecture"], rows["clt"]["reads"]) == ("cross_layer", "layers 0, 1")
    result = interp("dictionaries", "export", "clt", str(tmp_path / "clt"))
    assert "is a cross-layer transcoder" in result.stderr
