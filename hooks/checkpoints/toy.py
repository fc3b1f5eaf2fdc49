"""`toy:` models: tiny, seeded, built or trained on the spot, one of each architecture to be handled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hooks.checkpoints.building import build
from hooks.checkpoints.quiet import quiet_transformers
from hooks.checkpoints.record import Checkpoint, Origin
from hooks.checkpoints.toy_tokenizer import save_tokenizer
from hooks.checkpoints.toy_training import train_attention_only, train_induction
from hooks.errors import unknown
from hooks.progress import Progress, silent

PREFIX = "toy:"
LICENCE = "Apache-2.0"
_SPREAD = 0.2
_SPREAD_OF_VECTORS = 0.1

Trainer = Callable[[Any, Progress], None]


@dataclass(frozen=True)
class Recipe:
    """How one toy is made: a transformers configuration, a seed, and a training if it has one."""

    description: str
    config: str
    """Name of a transformers configuration class."""
    settings: dict[str, Any]
    """Its arguments; the vocabulary and the end token come from the tokenizer."""
    seed: int = 0
    train: Trainer | None = None
    """Trains the model in place and raises InputError if it did not learn its task."""


_LLAMA = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}

RECIPES: dict[str, Recipe] = {
    "random": Recipe(
        "random Llama: 3 layers, 4 heads in 2 key-value groups, width 32",
        "LlamaConfig",
        {
            **_LLAMA,
            "num_hidden_layers": 3,
            "hidden_size": 32,
            "head_dim": 8,
            "intermediate_size": 64,
            "tie_word_embeddings": False,
        },
    ),
    "gpt2": Recipe(
        "random GPT-2: 2 layers, 4 heads, learned positions, tied embeddings",
        "GPT2Config",
        {
            "n_layer": 2,
            "n_head": 4,
            "n_embd": 32,
            "n_positions": 256,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
    ),
    "neox": Recipe(
        "random GPT-NeoX: 2 layers, 4 heads, attention and MLP in parallel",
        "GPTNeoXConfig",
        {
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "max_position_embeddings": 256,
            "rotary_pct": 0.5,
            "use_parallel_residual": True,
            "tie_word_embeddings": False,
        },
    ),
    "qwen3": Recipe(
        "random Qwen3: 2 layers, normalised queries and keys, heads wider than the model over their number",
        "Qwen3Config",
        {
            **_LLAMA,
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "head_dim": 16,
            "intermediate_size": 64,
            "tie_word_embeddings": True,
        },
    ),
    "induction": Recipe(
        "Llama of 2 layers trained to copy in up to 64 tokens: after A B … A it says B",
        "LlamaConfig",
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 256,
            "num_hidden_layers": 2,
            "hidden_size": 64,
            "head_dim": 16,
            "intermediate_size": 128,
            "tie_word_embeddings": True,
        },
        train=train_induction,
    ),
    "attention-only": Recipe(
        "Llama of 2 layers of 2 heads whose MLPs write nothing, trained to copy in up to 64 tokens: a known circuit",
        "LlamaConfig",
        {
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "num_hidden_layers": 2,
            "hidden_size": 64,
            "head_dim": 32,
            "intermediate_size": 16,
            "tie_word_embeddings": True,
        },
        train=train_attention_only,
    ),
}


def folder_name(name: str) -> str:
    """The workspace folder of a toy: "random" -> "toy-random"."""
    return f"toy-{name}"


def size_mb(recipe: Recipe) -> float:
    """Megabytes on disk, rounded up: embeddings of at most 2,000 rows dominate, tokenizer included."""
    return 2.0 if recipe.train else 1.0


def fetch_toy(spec: str, workspace: Path, progress: Progress = silent) -> Checkpoint:
    """The toy "toy:NAME" in `workspace/models/toy-NAME`; the same seed gives the same tensors.

    Raises InputError for an unknown name, and when a trained toy did not reach its accuracy.
    """
    name = spec.removeprefix(PREFIX)
    if name not in RECIPES:
        raise unknown("model", spec, (PREFIX + known for known in RECIPES))
    recipe = RECIPES[name]

    def make(folder: Path) -> Origin:
        progress(0.0, f"building {spec}")
        model = make_model(recipe, save_tokenizer(folder))
        if recipe.train:
            recipe.train(model, progress)
        with quiet_transformers():
            model.save_pretrained(folder)
        source = f"built here, seed {recipe.seed}" + (", trained" if recipe.train else ", random weights")
        return Origin(spec, source, "none", LICENCE)

    return build(workspace, folder_name(name), make, progress, needs_mb=5)


def make_model(recipe: Recipe, n_tokens: int):  # type: ignore[no-untyped-def]  # a transformers causal model
    """The recipe's model in eval mode, fp32, weights drawn from its own seeded generator.

    Matrices have standard deviation 0.2, so that prompts differ visibly in the output; biases 0.1 around zero and
    norm scales 0.1 around one, so that code which forgets either is wrong.
    """
    import torch
    import transformers

    config = getattr(transformers, recipe.config)(
        vocab_size=n_tokens, bos_token_id=None, eos_token_id=0, pad_token_id=None, dtype="float32", **recipe.settings
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    random = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=random)
            if tensor.ndim > 1:
                # A model that is going to be trained starts small, as usual.
                tensor.copy_(noise * (0.02 if recipe.train else _SPREAD))
            elif not recipe.train:
                tensor.copy_(noise * _SPREAD_OF_VECTORS + (0.0 if name.endswith("bias") else 1.0))
    return model
