"""Editing activations through a dictionary: reconstruct them, and clamp, scale or ablate latents on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hooks.dictionaries.dictionary import Dictionary
from hooks.errors import InputError
from hooks.interventions import Intervention


@dataclass(frozen=True, eq=False)
class Recode(Intervention):
    """Replace the selection by what a dictionary makes of it, latents edited.

    Attributes:
        dictionary: an autoencoder of this site.
        clamp: latent → the activation it is held at, whether it was active or not.
        scale: latent → factor of its activation; 0 ablates it.
        keep_error: add what the dictionary does not reconstruct, so that without edits nothing changes.
    """

    dictionary: Dictionary
    clamp: Mapping[int, float] = field(default_factory=dict)
    scale: Mapping[int, float] = field(default_factory=dict)
    keep_error: bool = True

    def __post_init__(self) -> None:
        if self.dictionary.d_in != self.dictionary.d_out:
            raise InputError("Recode needs an autoencoder: this dictionary writes elsewhere than it reads")
        if wrong := [one for one in (*self.clamp, *self.scale) if not 0 <= one < self.dictionary.d_sae]:
            raise InputError(f"latent {wrong[0]} does not exist: this dictionary has {self.dictionary.d_sae}, from 0")
        if both := sorted(set(self.clamp) & set(self.scale)):
            raise InputError(f"latent {both[0]} is clamped and scaled: choose one")

    def change(self, selected: Tensor) -> Tensor:
        """[… d_in], or heads side by side where the site has heads."""
        rows = selected.reshape(-1, self.dictionary.d_in).float()
        if self.keep_error and not (self.clamp or self.scale):
            return selected
        codes = self.dictionary.encode(rows)
        edited = (codes.value, codes.rows(), codes.index)
        difference = self._difference(rows, *edited)
        if self.keep_error:
            scale = self._deviation(rows)
            return (rows + difference * scale).view_as(selected)
        return (self.dictionary.decode(codes, rows) + difference * self._deviation(rows)).view_as(selected)

    def _difference(self, rows: Tensor, value: Tensor, row: Tensor, index: Tensor) -> Tensor:
        """Σ over edited latents of (new − old)·direction, [row d_out]."""
        latents = [*self.clamp, *self.scale]
        if not latents:
            return torch.zeros_like(rows)
        old = torch.zeros(len(rows), len(latents))
        for place, latent in enumerate(latents):
            mine = index == latent
            old[row[mine], place] = value[mine]
        new = old * torch.tensor([0.0] * len(self.clamp) + list(self.scale.values()))
        new[:, : len(self.clamp)] = torch.tensor(list(self.clamp.values()))
        return (new - old).to(rows) @ self.dictionary.directions[latents].to(rows)

    def _deviation(self, rows: Tensor) -> Tensor | float:
        return rows.std(dim=-1, keepdim=True) if self.dictionary.layer_norm else 1.0
