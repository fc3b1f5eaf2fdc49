"""GGUF files: a toy written as GGUF comes back the same; the real default model keeps its known facts."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hooks.checkpoints import catalogue, fetch
from hooks.errors import Cancelled

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = "The doctor said that x=7\n\n1 naïve 🙂"
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """The GGUF name of a Llama tensor."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in whole:
        return whole[stem] + ".weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """The order in which GGUF keeps the rotary dimensions of queries and keys: pairs side by side."""
    halves = weight.reshape(n_heads, 2, -1, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def write_gguf(folder: Path, path: Path, licence: str) -> None:
    """The toy Llama in `folder` as an fp32 GGUF file."""
    config = json.loads((folder / "config.json").read_text())
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_license(licence)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(tokens["vocab"], key=tokens["vocab"].get))
    writer.add_token_types([3] + [1] * (len(tokens["vocab"]) - 1))
    writer.add_token_merges([" ".join(pair) for pair in tokens["merges"]])
    writer.add_eos_token_id(0)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, tensor in load_file(folder / "model.safetensors").items():
        n_heads = next((number for part, number in heads.items() if part in name), None)
        writer.add_tensor(gguf_name(name), (interleaved(tensor, n_heads) if n_heads else tensor).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def toy_gguf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(the toy's own folder, the same toy as a GGUF file)."""
    place = tmp_path_factory.mktemp("gguf")
    folder = fetch("toy:random", place).folder
    write_gguf(folder, place / "toy.gguf", "cc0-1.0")
    return folder, place / "toy.gguf"


def test_a_gguf_file_becomes_the_same_model(
    toy_gguf: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, path = toy_gguf
    made = fetch(str(path), tmp_path)
    assert capfd.readouterr().err == ""
    assert (made.name, made.quantisation, made.licence) == ("toy", "none", "cc0-1.0")
    ours, theirs = (load_file(place / "model.safetensors") for place in (folder, made.folder))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    tokens = torch.tensor([AutoTokenizer.from_pretrained(made.folder).encode(TEXT)])
    with torch.no_grad():
        first, second = (AutoModelForCausalLM.from_pretrained(place)(tokens).logits for place in (folder, made.folder))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)
    ready = [entry.name for entry in catalogue(tmp_path) if entry.ready]
    assert ready == [made.folder.name]
    assert fetch(made.folder.name, tmp_path) == fetch(str(path), tmp_path) == made


def test_the_gguf_tokenizer_splits_digits_first_and_loses_nothing(toy_gguf: tuple[Path, Path], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(fetch(str(toy_gguf[1]), tmp_path).folder)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.tokenize("\n\n12") == ["ĊĊ", "1", "2"]


def test_an_interrupted_conversion_leaves_nothing(toy_gguf: tuple[Path, Path], tmp_path: Path) -> None:
    def cancel(fraction: float, label: str) -> None:
        if "writing" in label:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(str(toy_gguf[1]), tmp_path, cancel)
    assert [path for path in (tmp_path / "models").iterdir() if path.is_dir()] == []


@pytest.mark.real
def test_the_default_model_keeps_its_facts() -> None:
    made = fetch("smollm2-135m", REPOSITORY / "workspace")
    assert made.quantisation == "Q4_1, de-quantised"
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    model = AutoModelForCausalLM.from_pretrained(made.folder)

    def last_logits(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.tensor([tokenizer.encode(text)])).logits[0, -1]

    assert tokenizer.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert tokenizer.tokenize("\n\n12") == ["ĊĊ", "1", "2"]
    paris, mary, john = (tokenizer.encode(word)[0] for word in (" Paris", " Mary", " John"))
    assert last_logits("The capital of France is").softmax(-1)[paris].item() == pytest.approx(0.77, abs=0.01)
    for giver, expected in (("John", 4.6), ("Mary", -6.5)):
        logits = last_logits(f"When John and Mary went to the store, {giver} gave a drink to")
        assert (logits[mary] - logits[john]).item() == pytest.approx(expected, abs=0.05)
