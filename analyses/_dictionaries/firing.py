"""Where each latent of a dictionary is active over many rows of activations, latent by latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hooks.dictionaries import Dictionary

ROWS = 4096
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Firing:
    """Active rows of every latent.

    Attributes:
        pointer: [latent + 1]; latent l owns the places from pointer[l] to pointer[l + 1] − 1.
        row: [active] rows, ascending within a latent.
        value: [active] activations.
        rows: how many rows there are.
    """

    pointer: Ids
    row: Ids
    value: Floats
    rows: int

    @property
    def latents(self) -> int:
        """How many."""
        return len(self.pointer) - 1

    def of(self, latent: int) -> tuple[Ids, Floats]:
        """(rows, activations) of one latent."""
        some = slice(self.pointer[latent], self.pointer[latent + 1])
        return self.row[some], self.value[some]


@torch.no_grad()
def firing(dictionary: Dictionary, x: Tensor, progress: Callable[[float, str], None]) -> Firing:
    """Of x [row d_in]."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for first in range(0, len(x), ROWS):
        progress(first / max(1, len(x)), f"encoding, {first:,} of {len(x):,} tokens")
        codes = dictionary.encode(x[first : first + ROWS])
        parts.append((codes.rows() + first, codes.index, codes.value))
    row, index, value = (torch.cat([part[place] for part in parts]) for place in range(3))
    order = index.argsort(stable=True)
    pointer = np.concatenate([[0], np.cumsum(np.bincount(index.numpy(), minlength=dictionary.d_sae))])
    return Firing(pointer.astype(np.int64), row[order].numpy(), value[order].double().numpy(), len(x))
