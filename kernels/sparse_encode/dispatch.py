"""One entrance: the version that was asked for, or the fastest that runs here."""

from __future__ import annotations

from torch import Tensor

from kernels.sparse_encode import naive, streamed
from kernels.sparse_encode.naive import SparseCodes

BACKENDS = ("auto", "naive", "streamed", "triton")


def sparse_encode(
    x: Tensor,
    W: Tensor,
    b: Tensor | None = None,
    *,
    activation: str = "relu",
    k: int | None = None,
    threshold: Tensor | float | None = None,
    backend: str = "auto",
) -> SparseCodes:
    """Arguments, results and errors of `naive.sparse_encode`.

    Args:
        backend: "auto" is the streamed version, on every device; the result's `backend` says which it was.

    Raises:
        ValueError: also an unknown backend.
        ImportError: "triton" without Triton.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "naive":
        return naive.sparse_encode(x, W, b, activation=activation, k=k, threshold=threshold)
    if backend == "triton":
        from kernels.sparse_encode import triton_version

        return triton_version.sparse_encode(x, W, b, activation=activation, k=k, threshold=threshold)
    return streamed.sparse_encode(x, W, b, activation=activation, k=k, threshold=threshold)
