"""Every input's own view of the residual stream: hooks at what norms read, and the way from there to q, k and v."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from einops import einsum
from torch import Tensor, nn

from hooks import weights
from hooks.norms import Norm
from hooks.taps import Handle

if TYPE_CHECKING:
    from hooks.model import Model

WEIGHTS = {"q": weights.W_Q, "k": weights.W_K, "v": weights.W_V}
BIASES = {"q": weights.b_Q, "k": weights.b_K, "v": weights.b_V}
Look = Callable[[Tensor], Tensor | None]


def before_norm(model: Model, layer: int | None, which: str, edit: Look) -> Callable[[], Handle]:
    """Show `edit` the stream that a norm reads (`ln1`, `ln2` of a layer; None: the final one); what it returns is read
    by that norm in its place, and the residual stream stays as it is."""
    module = norm_module(model, layer, which)

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        changed = edit(inputs[0])
        return None if changed is None else (changed, *inputs[1:])

    return lambda: Handle(module.register_forward_pre_hook(hook).remove)


def after_norm(model: Model, layer: int | None, which: str, edit: Look) -> Callable[[], Handle]:
    """Show `edit` what a norm gives; what it returns goes on in its place."""
    module = norm_module(model, layer, which)

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return edit(output)

    return lambda: Handle(module.register_forward_hook(hook).remove)


def norm_module(model: Model, layer: int | None, which: str) -> nn.Module:
    """The module of `ln1` or `ln2` of a layer, or of the final norm."""
    return model.norm(layer, which).module


def projected(model: Model, layer: int, kind: str, streams: Tensor) -> Tensor:
    """Queries, keys or values of each head's own stream: [… head d_model] → [… head d_head].

    The last but one axis counts query heads for "q", key/value heads for "k" and "v".
    """
    seen = normalised(model.norm(layer, "ln1"), streams).to(model.dtype)
    found = einsum(seen, WEIGHTS[kind](model, layer), "... head d, head d e -> ... head e")
    bias = BIASES[kind](model, layer)
    return found if bias is None else found + bias


def projected_one(model: Model, layer: int, kind: str, head: int, streams: Tensor) -> Tensor:
    """One head's query, key or value of several streams: [… d_model] → [… d_head]."""
    seen = normalised(model.norm(layer, "ln1"), streams).to(model.dtype)
    found = seen @ WEIGHTS[kind](model, layer)[head]
    bias = BIASES[kind](model, layer)
    return found if bias is None else found + bias[head]


def normalised(norm: Norm, stream: Tensor) -> Tensor:
    """What the norm gives for a stream, in fp32."""
    linear = norm.linear(stream, norm.scale(stream))
    return linear if norm.bias is None else linear + norm.bias
