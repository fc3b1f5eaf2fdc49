"""What packing costs, in the units that matter: relative length, the worst number, and nats after the unembedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.pack.naive import Packed
from kernels.pack.streamed import unpack
from kernels.vocab_lens import vocab_lens


@dataclass(frozen=True)
class PackingError:
    """Attributes:
    relative_l2: |x − x̂| / |x| over all numbers; 0 if both are 0.
    max_abs: the largest |x − x̂|.
    mean_kl, max_kl: KL(x ‖ x̂) in nats of the rows read through W_U, or None without it.
    """

    relative_l2: float
    max_abs: float
    mean_kl: float | None
    max_kl: float | None


@torch.no_grad()
def packing_error(x: Tensor, packed: Packed, W_U: Tensor | None = None, b_U: Tensor | None = None) -> PackingError:
    """Compare x [row d] with what was packed of it; W_U [d d_vocab].

    x and what is read back go through W_U as they are: normalise x before packing, or fold the norm, to read a stream.

    Raises:
        ValueError: another shape than what was packed, no rows.
    """
    if x.shape != packed.data.shape or not len(x):
        raise ValueError(f"x must be {tuple(packed.data.shape)} with at least one row, got {tuple(x.shape)}")
    wanted, back = x.float(), unpack(packed)
    off, length = (wanted - back).double(), wanted.double().norm().item()
    relative = off.norm().item() / length if length else off.norm().item()
    kl = None if W_U is None else vocab_lens(back, W_U, b_U, reference=wanted).kl
    mean, worst = (None, None) if kl is None else (kl.mean().item(), kl.max().item())
    return PackingError(relative, off.abs().max().item(), mean, worst)
