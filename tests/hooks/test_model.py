"""The loaded model: prompts in, tokens out, and clear refusals."""

from __future__ import annotations

import json
import re

import pytest

from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model


@pytest.mark.parametrize("spec", [""])
def test_an_empty_prompt_is_refused(tiny: Model, spec: str) -> None:
    for ask, said in (
        (tiny.encode, "the prompt is empty"), (tiny.tokens, "the prompt is empty"),
        (tiny.single_token, "'' is empty: one token is needed"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            ask(spec)


def test_a_prompt_longer_than_the_context_is_refused_not_trimmed(tiny: Model) -> None:
    word = " store"
    most = tiny.geometry.n_ctx
    assert len(tiny.encode(word * most)) == most
    with pytest.raises(InputError, match=f"has {most + 1} tokens; {tiny.identity.name} reads at most {most}"):
        tiny.encode(word * (most + 1))


def test_an_answer_of_several_tokens_shows_its_pieces(tiny: Model) -> None:
    with pytest.raises(InputError, match=re.escape("' Mary John' is 2 tokens ( Mary |  John); one token is needed")):
        tiny.single_token(" Mary John")
    assert tiny.str_tokens([tiny.single_token(" Mary")]) == [" Mary"]


@pytest.mark.parametrize(
    "text", ["When John and Mary went to the store", " a  b", "tab\tand\nline", "Zürich · 東京 🙂", "don't ."]
)
def test_tokens_join_back_to_the_text(any_tiny: Model, text: str) -> None:
    ids = any_tiny.encode(text)
    assert any_tiny.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    if text.isascii():
        assert "".join(any_tiny.str_tokens(ids)) == text


def test_encoding_adds_nothing(any_tiny: Model) -> None:
    ids = any_tiny.encode("When John")
    assert any_tiny.str_tokens(ids) == ["When", " John"]
    assert any_tiny.tokens("When John").tolist() == [ids]


def test_identity_is_plain_json_and_tells_formats_apart(models_folder) -> None:
    one, other = (load("toy:random", models_folder, dtype=dtype).identity for dtype in ("float32", "bfloat16"))
    assert json.loads(json.dumps(one.as_dict())) == one.as_dict()
    assert one != other
    assert one == load("toy:random", models_folder).identity


def test_geometry_is_that_of_the_config(any_tiny: Model) -> None:
    geometry, config = any_tiny.geometry, any_tiny.module.config
    assert (geometry.n_layers, geometry.n_heads, geometry.d_model) == (
        config.num_hidden_layers,
        config.num_attention_heads,
        config.hidden_size,
    )
    assert geometry.d_vocab == any_tiny.W_E.shape[0]
    assert [geometry.group(head) for head in range(geometry.n_heads)] == sorted(
        list(range(geometry.n_key_value_heads)) * geometry.queries_per_group
    )


def test_unknown_dtype_offers_the_nearest(models_folder) -> None:
    with pytest.raises(InputError, match="did you mean 'float32'"):
        load("toy:random", models_folder, dtype="flaot32")


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(models_folder, device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}' is not there"):
        load("toy:random", models_folder, device=device)


def test_an_architecture_we_do_not_know_is_refused(tmp_path, tiny: Model) -> None:
    from transformers import OPTConfig, OPTForCausalLM

    odd = tmp_path / "odd"
    sizes = {
        "hidden_size": 16,
        "ffn_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    OPTForCausalLM(OPTConfig(vocab_size=32, **sizes)).save_pretrained(odd)
    tiny.tokenizer.save_pretrained(odd)
    with pytest.raises(InputError, match="architecture 'opt' is not supported yet; supported: gpt2, gpt_neox, llama"):
        load(str(odd), tmp_path / "workspace")
