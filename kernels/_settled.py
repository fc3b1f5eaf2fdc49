"""A start-up call that makes torch's vectorised functions safe to call from several threads."""

from __future__ import annotations

import functools

import torch


@functools.cache
def settle() -> None:
    """Call each function of Intel's vector library that we use once, on one number, before threads call it.

    It picks its machine code at the first call; two threads at once can get one that is wrong by 1e-5 in that call
    (pytorch/pytorch issue 188792; seen here under load).
    """
    for function in (torch.exp, torch.log, torch.tanh, torch.sin, torch.cos, torch.erf, torch.sqrt):
        function(torch.full((1,), 0.5))
