"""Checks that every attention kernel here shares."""

from __future__ import annotations

from torch import Tensor


def check_heads(q: Tensor, k: Tensor) -> None:
    """Raise ValueError unless q [batch head query d_head] and k [batch kv_head key d_head] belong together."""
    fits = q.ndim == 4 and k.ndim == 4 and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
    if not fits:
        raise ValueError(
            f"q [batch head query d_head] and k [batch kv_head key d_head] do not fit: "
            f"{tuple(q.shape)} and {tuple(k.shape)}"
        )
    if 0 in q.shape or 0 in k.shape:
        raise ValueError(f"q and k may not be empty, got {tuple(q.shape)} and {tuple(k.shape)}")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{q.shape[1]} query heads cannot share {k.shape[1]} key heads evenly")
    if q.dtype != k.dtype or not q.is_floating_point():
        raise ValueError(f"q and k must have one floating dtype, got {q.dtype} and {k.dtype}")
    if q.device != k.device:
        raise ValueError(f"q and k must be on one device, got {q.device} and {k.device}")


def check_finite(**tensors: Tensor) -> None:
    """Raise ValueError that counts the NaN and infinite numbers of each argument."""
    suspect = {name: given for name, given in tensors.items() if not all(x.isfinite() for x in given.aminmax())}
    bad = {name: int((~given.isfinite()).sum()) for name, given in suspect.items()}
    if found := ", ".join(f"{count} of {tensors[name].numel()} in {name}" for name, count in bad.items() if count):
        raise ValueError(f"NaN or infinite numbers: {found}")
