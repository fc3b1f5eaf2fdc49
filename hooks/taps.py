"""Taps: one way to hook any site of the plain module, whatever the architecture calls it.

An edit is `f(activation) -> activation | None`, given the site's canonical shape (see `Site.shape`); returning None
only looks. Every tap hands back a handle; `hooked` removes them whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from hooks.anatomy import Anatomy
from hooks.attention import AttentionTaps, Edit
from hooks.errors import InputError
from hooks.geometry import Geometry
from hooks.sites import DERIVED_KINDS, Site

_IN_ATTENTION = frozenset({"rot_q", "rot_k", "v", "pattern", "attn_scores"})


@dataclass
class Handle:
    """Undoes one tap; removing twice is harmless."""

    undo: Callable[[], None]

    def remove(self) -> None:
        """Take the tap out."""
        self.undo()


def tap(module: nn.Module, anatomy: Anatomy, geometry: Geometry, site: Site, edit: Edit) -> Handle:
    """Hook the whole activation of `site` (its head and position are ignored here).

    Raises:
        InputError: the site does not exist in this model, or is derived (norm scales, per-head results) and can only
            be captured, not edited.
    """
    site.check(geometry)
    if site.kind in DERIVED_KINDS:
        raise InputError(f"{site.kind!r} is derived and cannot be edited here; use the bridge, or edit what it reads")
    if site.layer is None:
        return _on_output(module.get_submodule(anatomy.embed), edit)
    block = module.get_submodule(f"{anatomy.blocks}.{site.layer}")
    if site.kind in _IN_ATTENTION:
        return _in_attention(block.get_submodule(anatomy.attn), site.kind, edit)
    if site.kind in ("q", "k"):
        return _query_or_key(block, anatomy, geometry, site.kind, edit)
    if site.kind == "resid_mid":
        return _on_shared_input(block.get_submodule(anatomy.ln2), edit)
    if site.kind == "z":
        return _on_input(block.get_submodule(anatomy.out_projection), _per_head(edit, geometry.d_head))
    if site.kind == "resid_pre":
        return _on_input(block, edit)
    if site.kind == "mlp_post":
        return _on_input(block.get_submodule(anatomy.mlp_post), edit)
    path = {"resid_post": "", "attn_out": anatomy.attn, "mlp_out": anatomy.mlp, "mlp_pre": anatomy.mlp_pre}[site.kind]
    return _on_output(block.get_submodule(path), edit)


@contextmanager
def hooked(make: Sequence[Callable[[], Handle]]) -> Iterator[None]:
    """Set taps for the length of a block; all are removed even when setting one, or the body, raises."""
    handles: list[Handle] = []
    try:
        for one in make:
            handles.append(one())
        yield
    finally:
        for handle in reversed(handles):
            handle.remove()


def _on_output(module: nn.Module, edit: Edit) -> Handle:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        whole = isinstance(output, tuple)
        changed = edit(output[0] if whole else output)
        if changed is None:
            return None
        return (changed, *output[1:]) if whole else changed

    return Handle(module.register_forward_hook(hook).remove)


def _on_input(module: nn.Module, edit: Edit) -> Handle:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if inputs:
            changed = edit(inputs[0])
            return None if changed is None else ((changed, *inputs[1:]), kwargs)
        changed = edit(kwargs["hidden_states"])
        return None if changed is None else (inputs, kwargs | {"hidden_states": changed})

    return Handle(module.register_forward_pre_hook(hook, with_kwargs=True).remove)


def _on_shared_input(module: nn.Module, edit: Edit) -> Handle:
    """The residual and the norm's input are one tensor here: writing in place changes both, exactly."""

    def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        changed = edit(inputs[0])
        if changed is not None and changed is not inputs[0]:
            inputs[0].copy_(changed)

    return Handle(module.register_forward_pre_hook(hook).remove)


def _per_head(edit: Edit, d_head: int) -> Edit:
    def on_heads(flat: Tensor) -> Tensor | None:
        changed = edit(rearrange(flat, "batch pos (head d_head) -> batch pos head d_head", d_head=d_head))
        return None if changed is None else rearrange(changed, "batch pos head d_head -> batch pos (head d_head)")

    return on_heads


def _query_or_key(block: nn.Module, anatomy: Anatomy, geometry: Geometry, kind: str, edit: Edit) -> Handle:
    if anatomy.fused == "none":
        return _on_output(block.get_submodule(f"{anatomy.attn}.{kind}_proj"), _per_head(edit, geometry.d_head))
    layout = {
        "thirds": "batch pos (part head d_head) -> part batch pos head d_head",
        "per_head": "batch pos (head part d_head) -> part batch pos head d_head",
    }[anatomy.fused]
    back = " -> ".join(reversed(layout.split(" -> ")))

    def on_part(fused: Tensor) -> Tensor | None:
        parts = rearrange(fused, layout, part=3, d_head=geometry.d_head)
        changed = edit(parts["qk".index(kind)])
        if changed is None:
            return None
        parts = parts.clone()
        parts["qk".index(kind)] = changed
        return rearrange(parts, back)

    return _on_output(block.get_submodule(anatomy.qkv), on_part)


def _in_attention(module: nn.Module, kind: str, edit: Edit) -> Handle:
    taps: AttentionTaps | None = getattr(module, "interp_taps", None)
    if taps is None:
        taps = AttentionTaps()
        module.interp_taps = taps  # type: ignore[assignment]
    waiting = taps.edits.setdefault(kind, [])
    waiting.append(edit)

    def undo() -> None:
        if edit in waiting:
            waiting.remove(edit)
        if not any(taps.edits.values()) and hasattr(module, "interp_taps"):
            del module.interp_taps

    return Handle(undo)
