"""One entrance: the version that was asked for, or the fastest that knows the architecture."""

from __future__ import annotations

from torch import Tensor

from kernels.dictionary_step import naive, sparse
from kernels.dictionary_step.naive import Step
from kernels.dictionary_step.rule import COUNTED, Parameters, Rule

BACKENDS = ("auto", "naive", "sparse")


def dictionary_step(
    parameters: Parameters, x: Tensor, target: Tensor, rule: Rule, dead: Tensor | None = None, *, backend: str = "auto"
) -> Step:
    """Arguments, results and errors of `naive.dictionary_step`.

    Args:
        backend: "auto" is the sparse version where the architecture sets its number of active latents, else naive;
            the result's `backend` says which.

    Raises:
        ValueError: also an unknown backend, or "sparse" for an architecture that it does not know.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    fast = backend == "sparse" or (backend == "auto" and rule.architecture in COUNTED)
    return (sparse if fast else naive).dictionary_step(parameters, x, target, rule, dead)
