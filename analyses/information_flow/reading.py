"""What one forward leaves for the routes: every block's residuals, values, patterns and neurons, the last first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from einops import einsum
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

HELD_BYTES = 256 * 2**20
"""What the captured blocks take at once; more layers than fit are read by further forwards."""
MOST_BYTES = 512 * 2**20
"""What the attention patterns of one layer may take."""


@dataclass(frozen=True, eq=False)
class Block:
    """One block over a prompt, in fp32; residuals [pos d_model].

    `middle` is the residual after attention, None in a model whose attention and MLP run in parallel; `wrote` what
    the MLP added, `attention` what attention added, both with their biases; pattern [head dst key], values [key
    key_value_head d_head] with b_V, neurons [pos d_mlp].
    """

    model: Model
    layer: int
    before: Tensor
    middle: Tensor | None
    after: Tensor
    attention: Tensor
    wrote: Tensor
    pattern: Tensor
    values: Tensor
    neurons: Tensor

    def written(self, head: int) -> Tensor:
        """What a head would write of every key at full weight, [key d_model]: its value through W_O, without b_O."""
        value = self.values[:, self.model.geometry.group(head)]
        out = self.model.W_O(self.layer)[head].float()
        return einsum(value, out, "key d_head, d_head d_model -> key d_model")

    def ffn(self) -> Tensor:
        """What the neurons wrote, [pos d_model]: the MLP's output without its bias, which is no part."""
        bias = self.model.b_out(self.layer)
        return self.wrote if bias is None else self.wrote - bias.float()


def refuse_long(model: Model, length: int) -> None:
    """Raise InputError when one layer's patterns would be larger than MOST_BYTES."""
    most = int((MOST_BYTES / 4 / model.geometry.n_heads) ** 0.5)
    if length > most:
        raise InputError(
            f"the prompt has {length} tokens; information flow reads whole attention patterns, of {most} tokens at "
            f"most in {model.identity.name}: shorten the prompt, or choose an earlier token"
        )


def blocks(model: Model, tokens: Tensor) -> Iterator[Block]:
    """The blocks of a model over tokens [1 pos], from the last down, as many at a time as HELD_BYTES hold."""
    g, length = model.geometry, tokens.shape[1]
    one = 4 * length * (g.n_heads * length + 5 * g.d_model + g.d_mlp + g.n_key_value_heads * g.d_head)
    at_once = max(1, HELD_BYTES // one)
    kinds = ["resid_pre", "resid_post", "attn_out", "mlp_out", "pattern", "v", "mlp_post"]
    kinds += [] if g.parallel_blocks else ["resid_mid"]
    for last in range(g.n_layers - 1, -1, -at_once):
        layers = range(last, max(-1, last - at_once), -1)
        cache = run_with_cache(model, tokens, [Site(n, kind) for n in layers for kind in kinds], last_only=True)
        for layer in layers:
            yield _block(model, layer, {kind: cache[Site(layer, kind)][0].float() for kind in kinds})


def _block(model: Model, layer: int, held: dict[str, Tensor]) -> Block:
    for kind, tensor in held.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{kind} of layer {layer} is not all finite numbers: the model overflowed; try float32")
    return Block(
        model, layer, held["resid_pre"], held.get("resid_mid"), held["resid_post"], held["attn_out"], held["mlp_out"],
        held["pattern"], held["v"], held["mlp_post"],
    )  # fmt: skip
