"""Where each supported architecture keeps its parts: module paths in the plain Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from hooks.errors import InputError
from hooks.geometry import Geometry


@dataclass(frozen=True)
class Anatomy:
    """Module paths of one family; those of block parts start at the block. `fused` says how q, k and v are packed."""

    embed: str
    blocks: str
    final_norm: str
    ln1: str
    ln2: str
    attn: str
    mlp: str
    out_projection: str
    mlp_pre: str
    mlp_post: str
    fused: Literal["none", "thirds", "per_head"] = "none"
    qkv: str = ""
    input_major: bool = False
    rotary: str = ""


_LLAMA = Anatomy(
    embed="model.embed_tokens",
    blocks="model.layers",
    final_norm="model.norm",
    ln1="input_layernorm",
    ln2="post_attention_layernorm",
    attn="self_attn",
    mlp="mlp",
    out_projection="self_attn.o_proj",
    mlp_pre="mlp.gate_proj",
    mlp_post="mlp.down_proj",
    rotary="model.rotary_emb",
)
_GPT2 = Anatomy(
    embed="transformer.wte",
    blocks="transformer.h",
    final_norm="transformer.ln_f",
    ln1="ln_1",
    ln2="ln_2",
    attn="attn",
    mlp="mlp",
    out_projection="attn.c_proj",
    mlp_pre="mlp.c_fc",
    mlp_post="mlp.c_proj",
    fused="thirds",
    qkv="attn.c_attn",
    input_major=True,
)
_NEOX = Anatomy(
    embed="gpt_neox.embed_in",
    blocks="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    ln1="input_layernorm",
    ln2="post_attention_layernorm",
    attn="attention",
    mlp="mlp",
    out_projection="attention.dense",
    mlp_pre="mlp.dense_h_to_4h",
    mlp_post="mlp.dense_4h_to_h",
    fused="per_head",
    qkv="attention.query_key_value",
    rotary="gpt_neox.rotary_emb",
)
FAMILIES: dict[str, Anatomy] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
}


def anatomy_of(config: Any) -> Anatomy:
    """The anatomy for a Hugging Face config. Raises InputError naming the supported families."""
    family = str(config.model_type)
    if family not in FAMILIES:
        raise InputError(f"architecture {family!r} is not supported yet; supported: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family]


def geometry_of(module: nn.Module) -> Geometry:
    """Read the sizes off a loaded Hugging Face model."""
    config: Any = module.config
    anatomy = anatomy_of(config)
    heads = int(config.num_attention_heads)
    block = module.get_submodule(anatomy.blocks)[0]  # type: ignore[index]
    pre: Any = block.get_submodule(anatomy.mlp_pre)
    return Geometry(
        n_layers=int(config.num_hidden_layers),
        n_heads=heads,
        n_key_value_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        d_model=int(config.hidden_size),
        d_head=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        d_mlp=int(pre.weight.shape[1] if anatomy.input_major else pre.weight.shape[0]),
        d_vocab=int(config.vocab_size),
        n_ctx=int(config.max_position_embeddings),
        parallel_blocks=bool(getattr(config, "use_parallel_residual", False)),
        gated_mlp=anatomy.mlp_pre.endswith("gate_proj"),
        family=str(config.model_type),
    )
