"""The second lane: TransformerLens' bridge, built empty and handed the plain model's own tensors."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from hooks.model import Model


def bridge_over(model: Model) -> Any:
    """A `TransformerBridge` over the very tensors of `model.module`; no weight is held twice.

    One exception: GPT-NeoX interleaves q, k and v head by head, so TransformerLens copies them apart (a quarter of a
    block). A later edit of those weights in place would reach only one lane.

    The bridge wraps its Hugging Face module in place, so it gets a module of its own: a skeleton on the meta device
    whose tensors are assigned, not copied. It also gives a tokenizer without special tokens some of its own, so it
    gets a copy of that too.
    """
    from transformer_lens.model_bridge import TransformerBridge

    config: Any = copy.deepcopy(model.module.config)
    config._attn_implementation = "eager"
    with torch.device("meta"):
        twin: Any = type(model.module)(config)
    twin.load_state_dict(model.module.state_dict(), assign=True)
    twin.tie_weights()
    for name, buffer in model.module.named_buffers():
        parent, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, buffer)
    twin.eval()
    return TransformerBridge.boot_transformers(
        model.identity.name,
        hf_model=twin,
        tokenizer=copy.deepcopy(model.tokenizer),
        device=str(model.device),
        dtype=model.dtype,
    )
