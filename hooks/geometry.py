"""The numbers that shape a transformer, and the key/value-group arithmetic, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Sizes of a decoder-only transformer. Counts, except the two flags and `family` (the Hugging Face model type)."""

    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    parallel_blocks: bool
    gated_mlp: bool
    family: str

    @property
    def queries_per_group(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_key_value_heads

    def group(self, head: int) -> int:
        """The key/value head that query head `head` reads."""
        return head // self.queries_per_group
