"""One entrance: the version that was asked for, or the fastest that runs here."""

from __future__ import annotations

from torch import Tensor

from kernels import _compiled
from kernels.vocab_lens import compiled, naive, native, streamed
from kernels.vocab_lens.naive import VocabLens

BACKENDS = ("auto", "naive", "streamed", "compiled", "triton")

FEW = 1024
"""Most tokens a row that the compiled version keeps by insertion before sorting is the better way."""


def vocab_lens(
    hidden: Tensor,
    W_U: Tensor,
    b_U: Tensor | None = None,
    *,
    k: int = 1,
    targets: Tensor | None = None,
    reference: Tensor | None = None,
    reference_index: Tensor | None = None,
    js: bool = False,
    block: int | None = None,
    backend: str = "auto",
) -> VocabLens:
    """Arguments, results and errors of `naive.vocab_lens`.

    Args:
        block: how many vocabulary ids are looked at together; each version has its own default, naive takes all.
        backend: "auto" takes compiled code on the CPU if it is there, Triton on a GPU, else the streamed version; the
            result's `backend` says which it was.

    Raises:
        ValueError: also an unknown backend, or one that does not run on this device.
        kernels._compiled.NoCompiler: "compiled" without a compiler.
        ImportError: "triton" without Triton.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    name = _best(hidden, k) if backend == "auto" else backend
    given = {"k": k, "targets": targets, "reference": reference, "reference_index": reference_index, "js": js}
    if name == "naive":
        return naive.vocab_lens(hidden, W_U, b_U, **given)  # type: ignore[arg-type]
    if block is not None:
        given["block"] = block
    if name == "triton":
        from kernels.vocab_lens.triton_version import vocab_lens as in_triton

        return in_triton(hidden, W_U, b_U, **given)  # type: ignore[arg-type]
    version = compiled.vocab_lens if name == "compiled" else streamed.vocab_lens
    return version(hidden, W_U, b_U, **given)  # type: ignore[arg-type]


def _best(hidden: Tensor, k: int) -> str:
    if hidden.is_cuda:
        try:
            import triton  # noqa: F401
        except ImportError:
            return "streamed"
        return "triton"
    if hidden.device.type != "cpu" or k > FEW or _compiled.why_not(native.SOURCE):
        return "streamed"
    return "compiled"
