"""Sites: places in a transformer whose activation can be read or edited, with TransformerLens names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hooks.errors import InputError, unknown
from hooks.geometry import Geometry

Position = int | tuple[int, ...] | None

BLOCK_NAMES: dict[str, str] = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "rot_q": "attn.hook_rot_q",
    "rot_k": "attn.hook_rot_k",
    "z": "attn.hook_z",
    "pattern": "attn.hook_pattern",
    "attn_scores": "attn.hook_attn_scores",
    "result": "attn.hook_result",
    "mlp_pre": "mlp.hook_pre",
    "mlp_post": "mlp.hook_post",
    "ln1_scale": "ln1.hook_scale",
    "ln1_normalized": "ln1.hook_normalized",
    "ln2_scale": "ln2.hook_scale",
    "ln2_normalized": "ln2.hook_normalized",
}
MODEL_NAMES: dict[str, str] = {
    "embed": "hook_embed",
    "ln_final_scale": "ln_final.hook_scale",
    "ln_final_normalized": "ln_final.hook_normalized",
}
ALIASES: dict[str, str] = {
    "hook_in": "resid_pre",
    "hook_out": "resid_post",
    "attn.hook_out": "attn_out",
    "mlp.hook_out": "mlp_out",
    "attn.o.hook_in": "z",
    "attn.q.hook_out": "q",
    "attn.k.hook_out": "k",
    "attn.v.hook_out": "v",
    "mlp.out.hook_in": "mlp_post",
}
KINDS = (*BLOCK_NAMES, *MODEL_NAMES)
QUERY_HEAD_KINDS = frozenset({"q", "rot_q", "z", "result", "pattern", "attn_scores"})
KEY_HEAD_KINDS = frozenset({"k", "v", "rot_k"})
PATTERN_KINDS = frozenset({"pattern", "attn_scores"})
DERIVED_KINDS = frozenset(
    {"result", "ln1_scale", "ln1_normalized", "ln2_scale", "ln2_normalized", "ln_final_scale", "ln_final_normalized"}
)
_BY_NAME = {name: kind for kind, name in (BLOCK_NAMES | MODEL_NAMES).items()} | ALIASES


@dataclass(frozen=True)
class Site:
    """One activation: a layer (None outside the blocks), a kind of KINDS, optionally a head and a position.

    `position` is a destination token: an index, several indices, or None for all; negative counts from the end.
    """

    layer: int | None
    kind: str
    head: int | None = None
    position: Position = None

    @property
    def name(self) -> str:
        """The TransformerLens name, e.g. `blocks.3.attn.hook_z`."""
        return MODEL_NAMES[self.kind] if self.layer is None else f"blocks.{self.layer}.{BLOCK_NAMES[self.kind]}"

    @property
    def label(self) -> str:
        """A short name for figures and errors, e.g. `L3H6 z` or `resid_pre L3`."""
        if self.layer is None:
            return self.kind
        return f"{self.kind} L{self.layer}" if self.head is None else f"L{self.layer}H{self.head} {self.kind}"

    @property
    def whole(self) -> Site:
        """The same storage without head and position: what is captured once and sliced afterwards."""
        return replace(self, head=None, position=None)

    @classmethod
    def parse(cls, name: str) -> Site:
        """Read a TransformerLens name or bridge alias. Raises InputError offering the nearest names."""
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        layer, rest = (int(match[1]), match[2]) if match else (None, name)
        kind = _BY_NAME.get(rest)
        if kind is None or (layer is None) != (kind in MODEL_NAMES):
            raise unknown("site", name, [f"blocks.L.{n}" for n in BLOCK_NAMES.values()] + list(MODEL_NAMES.values()))
        return cls(layer, kind)

    def check(self, geometry: Geometry) -> None:
        """Raise InputError, naming what would be valid, when this site does not exist in such a model."""
        if self.kind not in KINDS:
            raise unknown("site kind", self.kind, KINDS)
        if (self.layer is None) != (self.kind in MODEL_NAMES):
            raise InputError(f"site {self.kind!r} {'needs a' if self.layer is None else 'has no'} layer")
        if self.layer is not None and not 0 <= self.layer < geometry.n_layers:
            raise InputError(f"layer {self.layer} does not exist: valid layers are 0 to {geometry.n_layers - 1}")
        if self.kind == "resid_mid" and geometry.parallel_blocks:
            raise InputError("resid_mid does not exist here: attention and MLP run in parallel in this model")
        if self.head is not None and not 0 <= self.head < self.heads(geometry):
            raise InputError(f"head {self.head} of {self.kind!r} does not exist: {self.heads(geometry)} heads, from 0")

    def heads(self, geometry: Geometry) -> int:
        """How many heads this kind has (key/value heads for k and v). Raises InputError for headless kinds."""
        if self.kind in QUERY_HEAD_KINDS:
            return geometry.n_heads
        if self.kind in KEY_HEAD_KINDS:
            return geometry.n_key_value_heads
        raise InputError(
            f"{self.kind!r} has no heads; with heads: {', '.join(sorted(QUERY_HEAD_KINDS | KEY_HEAD_KINDS))}"
        )

    def shape(self, geometry: Geometry, batch: int, pos: int) -> tuple[int, ...]:
        """Shape of the whole activation at this site for `batch` prompts of `pos` tokens."""
        if self.kind in PATTERN_KINDS:
            return (batch, geometry.n_heads, pos, pos)
        if self.kind == "result":
            return (batch, pos, geometry.n_heads, geometry.d_model)
        if self.kind in QUERY_HEAD_KINDS | KEY_HEAD_KINDS:
            return (batch, pos, self.heads(geometry), geometry.d_head)
        if self.kind.endswith("_scale"):
            return (batch, pos, 1)
        return (batch, pos, geometry.d_mlp if self.kind in ("mlp_pre", "mlp_post") else geometry.d_model)
