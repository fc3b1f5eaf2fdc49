"""A loaded language model: one set of weights, a plain fast lane, and a TransformerLens bridge on request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from hooks import weights
from hooks.anatomy import anatomy_of, geometry_of
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Intervention
from hooks.norms import Norm

DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ModelIdentity:
    """What makes results comparable: two models with equal identities hold the same numbers.

    `spec` is what to type to load it again; `source` says in words where the weights came from.
    """

    name: str
    spec: str
    source: str
    revision: str
    quantisation: str
    dtype: str
    processing: str = "none"

    def as_dict(self) -> dict[str, str]:
        """Plain JSON, for run keys and provenance."""
        return asdict(self)


class Model:
    """A decoder-only model ready to be read and edited. Use `hooks.load.load` to make one."""

    def __init__(self, module: nn.Module, tokenizer: Any, identity: ModelIdentity, folder: Path | None = None) -> None:
        """`folder` is the checkpoint's folder on disk, from which trust checks read a second copy."""
        self.module = module.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity = identity
        self.folder = folder
        self.anatomy = anatomy_of(module.config)
        self.geometry = geometry_of(module)
        self.lock = threading.RLock()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        return next(self.module.parameters()).dtype

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens' bridge over the very same tensors: names, gradients, arbitrary hooks; slower."""
        from hooks.bridge import bridge_over

        return bridge_over(self)

    def all_ids(self, text: str) -> list[int]:
        """Token ids of `text`, none where it is empty, also more than the model reads at once."""
        return [int(i) for i in self.tokenizer.encode(text, add_special_tokens=False, verbose=False)]

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; nothing is added, padded or trimmed. Raises InputError for empty or too long prompts."""
        ids = self.all_ids(text)
        if not ids:
            raise InputError("the prompt is empty: give at least one token of text")
        if len(ids) > self.geometry.n_ctx:
            raise InputError(
                f"the prompt has {len(ids)} tokens; {self.identity.name} reads at most {self.geometry.n_ctx}"
            )
        return ids

    def tokens(self, text: str) -> Tensor:
        """[1 pos] token ids on the model's device."""
        return torch.tensor([self.encode(text)], device=self.device)

    def str_tokens(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return [str(self.tokenizer.decode([int(i)], clean_up_tokenization_spaces=False)) for i in ids]

    def single_token(self, text: str) -> int:
        """The id of a text that is one token. Raises InputError showing the pieces otherwise."""
        if not text:
            raise InputError("'' is empty: one token is needed, its leading space included")
        ids = self.encode(text)
        if len(ids) != 1:
            raise InputError(f"{text!r} is {len(ids)} tokens ({' | '.join(self.str_tokens(ids))}); one token is needed")
        return ids[0]

    def logits(self, tokens: Tensor, interventions: Sequence[Intervention] = (), *, last_only: bool = False) -> Tensor:
        """[batch pos d_vocab] logits ([batch 1 d_vocab] with `last_only`), with the interventions in force."""
        return run_with_cache(self, tokens, (), interventions, last_only=last_only).logits

    @property
    def W_E(self) -> Tensor:
        """Embedding, [d_vocab d_model]."""
        return self._weight(self.anatomy.embed)

    @property
    def W_U(self) -> Tensor:
        """Unembedding, [d_model d_vocab] (a view: tied weights stay tied)."""
        head: Any = self.module.get_output_embeddings()  # type: ignore[operator]
        return head.weight.detach().T

    @property
    def b_U(self) -> Tensor | None:
        """Unembedding bias, [d_vocab], or None."""
        head: Any = self.module.get_output_embeddings()  # type: ignore[operator]
        return None if head.bias is None else head.bias.detach()

    def W_Q(self, layer: int) -> Tensor:
        """Query weights, [head d_model d_head]."""
        return weights.W_Q(self, layer)

    def W_K(self, layer: int) -> Tensor:
        """Key weights, [key_value_head d_model d_head]."""
        return weights.W_K(self, layer)

    def W_V(self, layer: int) -> Tensor:
        """Value weights, [key_value_head d_model d_head]."""
        return weights.W_V(self, layer)

    def b_Q(self, layer: int) -> Tensor | None:
        """Query biases, [head d_head], or None."""
        return weights.b_Q(self, layer)

    def b_K(self, layer: int) -> Tensor | None:
        """Key biases, [key_value_head d_head], or None."""
        return weights.b_K(self, layer)

    def b_V(self, layer: int) -> Tensor | None:
        """Value biases, [key_value_head d_head], or None."""
        return weights.b_V(self, layer)

    def W_in(self, layer: int) -> Tensor:
        """MLP input weights, [d_model d_mlp]; of a gated MLP, the branch without the nonlinearity."""
        return weights.W_in(self, layer)

    def W_gate(self, layer: int) -> Tensor | None:
        """MLP gate weights, [d_model d_mlp], or None."""
        return weights.W_gate(self, layer)

    def W_O(self, layer: int) -> Tensor:
        """Attention output projection of a layer, [head d_head d_model]."""
        weight = self._weight(f"{self.anatomy.blocks}.{layer}.{self.anatomy.out_projection}")
        weight = weight if self.anatomy.input_major else weight.T
        return rearrange(weight, "(head d_head) d_model -> head d_head d_model", head=self.geometry.n_heads)

    def b_O(self, layer: int) -> Tensor | None:
        """Attention output bias of a layer, [d_model], or None."""
        return self._bias(f"{self.anatomy.blocks}.{layer}.{self.anatomy.out_projection}")

    def W_out(self, layer: int) -> Tensor:
        """MLP output projection of a layer, [d_mlp d_model]."""
        weight = self._weight(f"{self.anatomy.blocks}.{layer}.{self.anatomy.mlp_post}")
        return weight if self.anatomy.input_major else weight.T

    def b_out(self, layer: int) -> Tensor | None:
        """MLP output bias of a layer, [d_model], or None."""
        return self._bias(f"{self.anatomy.blocks}.{layer}.{self.anatomy.mlp_post}")

    def norm(self, layer: int | None, which: str = "ln_final") -> Norm:
        """`ln1` or `ln2` of a layer, or the final norm when `layer` is None."""
        if layer is None:
            return Norm(self.module.get_submodule(self.anatomy.final_norm))
        path = self.anatomy.ln1 if which == "ln1" else self.anatomy.ln2
        return Norm(self.module.get_submodule(f"{self.anatomy.blocks}.{layer}.{path}"))

    @torch.no_grad()
    def final_norm(self, residual: Tensor) -> Tensor:
        """The model's own final norm, same shape as `residual`."""
        return self.module.get_submodule(self.anatomy.final_norm)(residual)

    def _weight(self, path: str) -> Tensor:
        weight: Any = self.module.get_submodule(path).weight
        return weight.detach()

    def _bias(self, path: str) -> Tensor | None:
        bias: Any = getattr(self.module.get_submodule(path), "bias", None)
        return None if bias is None else bias.detach()
