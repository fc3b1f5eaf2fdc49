"""The toys: the same tensors every time, a tokenizer that loses nothing, and a copying model that copies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hooks.checkpoints import fetch
from hooks.checkpoints.building import models_folder
from hooks.checkpoints.toy import RECIPES
from hooks.checkpoints.toy_tokenizer import END, make_tokenizer
from hooks.checkpoints.toy_training import copying_accuracy, repeated_tokens, train_induction
from hooks.checkpoints.toy_words import FIRST_NAMES, spaced_words
from hooks.errors import InputError
from hooks.progress import silent

RANDOM_TOYS = [name for name, recipe in RECIPES.items() if recipe.train is None]
CLEAN = "When John and Mary went to the store, John gave a drink to"


@pytest.mark.parametrize("name", RANDOM_TOYS)
def test_a_toy_is_the_same_whenever_it_is_built(tmp_path: Path, name: str) -> None:
    torch.manual_seed(1)
    first = fetch(f"toy:{name}", tmp_path / "first")
    before = torch.random.get_rng_state()
    second = fetch(f"toy:{name}", tmp_path / "second")
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.revision == second.revision
    ours, theirs = (load_file(made.folder / "model.safetensors") for made in (first, second))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", RANDOM_TOYS)
def test_a_toy_loads_and_tells_prompts_apart(tmp_path: Path, name: str) -> None:
    folder = fetch(f"toy:{name}", tmp_path).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    tokens = torch.tensor([tokenizer.encode(CLEAN), tokenizer.encode(CLEAN.replace("John gave", "Mary gave"))])
    with torch.no_grad():
        first, second = model(tokens).logits[:, -1].softmax(-1)
    assert (first - second).abs().sum() > 0.05
    assert model.config.vocab_size == len(tokenizer)


def test_the_architectures_cover_what_they_promise() -> None:
    assert {RECIPES[name].config for name in RANDOM_TOYS} == {
        "LlamaConfig",
        "GPT2Config",
        "GPTNeoXConfig",
        "Qwen3Config",
    }
    tied = {name: RECIPES[name].settings.get("tie_word_embeddings", True) for name in RANDOM_TOYS}
    assert set(tied.values()) == {True, False}


@pytest.mark.parametrize(
    "text",
    ["", " ", CLEAN, "naïve café 你好 🙂", "a\tb\n\n  c \r\n", "The year 1732, x = f(1)\n", "\u0000\u200d\ufffd"],
)
def test_any_text_round_trips_and_nothing_is_added(text: str) -> None:
    tokenizer = make_tokenizer()
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.eos_token_id not in tokens


def test_each_known_word_is_one_token_after_a_space() -> None:
    tokenizer = make_tokenizer()
    assert [word for word in spaced_words() if len(tokenizer.encode(" " + word)) != 1] == []
    assert len(set(FIRST_NAMES.split())) >= 40
    assert len(tokenizer) <= 2000
    assert tokenizer.eos_token == END


def test_the_tokenizer_is_the_same_after_saving(tmp_path: Path) -> None:
    fresh, saved = make_tokenizer(), AutoTokenizer.from_pretrained(fetch("toy:gpt2", tmp_path).folder)
    assert fresh.get_vocab() == saved.get_vocab()
    assert fresh.encode(CLEAN) == saved.encode(CLEAN)


def test_repeated_tokens_repeat_with_their_period_and_only_then() -> None:
    tokens, period = repeated_tokens(50, 3, 40, torch.Generator().manual_seed(0))
    assert torch.equal(tokens[:, period:], tokens[:, :-period])
    assert all(len(set(row[:period].tolist())) == period for row in tokens)
    assert tokens.min() >= 1


class Copier(torch.nn.Module):
    """Says what followed the last token's earlier occurrence: the answer that training should reach."""

    def __init__(self, n_tokens: int, right: bool) -> None:
        super().__init__()
        self.config, self.right = SimpleNamespace(vocab_size=n_tokens), right

    def forward(self, tokens: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        batch, length = tokens.shape
        logits = torch.zeros(batch, length, self.config.vocab_size)
        for row, position in torch.cartesian_prod(torch.arange(batch), torch.arange(length)).tolist():
            earlier = (tokens[row, :position] == tokens[row, position]).nonzero()
            if len(earlier) and self.right:
                logits[row, position, tokens[row, int(earlier[-1]) + 1]] = 1
        return SimpleNamespace(logits=logits)


def test_the_accuracy_is_one_for_a_perfect_copier_and_none_for_a_mute_one() -> None:
    assert copying_accuracy(Copier(100, right=True)) == 1.0
    assert copying_accuracy(Copier(100, right=False)) == 0.0


def test_a_model_that_did_not_learn_fails_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hooks.checkpoints.toy_training._MAX_STEPS", 2)
    with pytest.raises(InputError, match=r"toy:induction copies only \d+% of repeated tokens"):
        fetch("toy:induction", tmp_path)
    assert not (models_folder(tmp_path) / "toy-induction").exists()


def test_the_induction_toy_copies(models_folder: Path) -> None:
    made = fetch("toy:induction", models_folder, silent)
    model = AutoModelForCausalLM.from_pretrained(made.folder)
    assert copying_accuracy(model, seed=123) >= 0.9
    assert RECIPES["induction"].train is train_induction
