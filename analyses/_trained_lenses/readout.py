"""The model's own final norm and unembedding as a differentiable reading, and the divergence from its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from kernels.vocab_lens import VocabLens, vocab_lens

if TYPE_CHECKING:
    from hooks.model import Model

TOGETHER = 256
"""Distributions over the whole vocabulary that exist at once while they are averaged."""


@dataclass(frozen=True, eq=False)
class Readout:
    """States [row d_model] as distributions over the vocabulary, in fp32."""

    model: Model
    W_U: Tensor
    b_U: Tensor | None  # noqa: N815

    @classmethod
    def of(cls, model: Model) -> Readout:
        """The reading of a model; a copy of the unembedding where that is not fp32."""
        return cls(model, model.W_U.float(), None if model.b_U is None else model.b_U.float())

    def normed(self, states: Tensor, scale: Tensor | None = None) -> Tensor:
        """The final norm, with gradients; `scale` [row 1] of other states where it is to be theirs."""
        norm = self.model.norm(None)
        found = norm.linear(states, norm.scale(states) if scale is None else scale)
        return found if norm.bias is None or scale is not None else found + norm.bias

    def log_probs(self, states: Tensor) -> Tensor:
        """[row d_vocab] in nats."""
        logits = self.normed(states) @ self.W_U
        return (logits if self.b_U is None else logits + self.b_U).log_softmax(dim=-1)

    def divergence(self, states: Tensor, finals: Tensor) -> Tensor:
        """KL(read from finals ‖ read from states) [row], in nats, with gradients to `states`."""
        with torch.no_grad():
            told = self.log_probs(finals)
        return kl_div(self.log_probs(states), told, reduction="none", log_target=True).sum(dim=-1)

    @torch.no_grad()
    def read(self, states: Tensor, finals: Tensor, k: int = 1) -> VocabLens:
        """Top tokens of each state, and its KL from what is read from the finals of the same row."""
        rows = torch.arange(len(states), device=states.device)
        return vocab_lens(self.normed(states), self.W_U, self.b_U, k=k, reference=self.normed(finals),
                          reference_index=rows)  # fmt: skip

    @torch.no_grad()
    def average(self, finals: Tensor) -> Tensor:
        """log of the mean distribution read from `finals`, [d_vocab]: the best guess that looks at no state."""
        total = torch.zeros(self.W_U.shape[1], dtype=torch.float64, device=finals.device)
        for some in finals.split(TOGETHER):
            total += self.log_probs(some).exp().sum(dim=0, dtype=torch.float64)
        return (total / len(finals)).log().float()

    @torch.no_grad()
    def from_average(self, average: Tensor, finals: Tensor) -> tuple[Tensor, Tensor]:
        """KL(read from finals ‖ average) [row], and whether both have one most likely token [row]."""
        best, parts = int(average.argmax()), []
        for some in finals.split(TOGETHER):
            told = self.log_probs(some)
            parts.append((kl_div(average.expand_as(told), told, reduction="none", log_target=True).sum(dim=-1),
                          told.argmax(dim=-1) == best))  # fmt: skip
        return torch.cat([kl for kl, _ in parts]), torch.cat([same for _, same in parts])
