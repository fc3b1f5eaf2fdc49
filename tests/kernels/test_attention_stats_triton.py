"""The Triton kernel under its interpreter on tiny odd sizes (on CUDA where there is one), and compiled for a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.attention_stats import attention_stats, bench, naive
from kernels.attention_stats.stats import Question

pytest.importorskip("triton")
from kernels.attention_stats import triton_version

ROOT = Path(__file__).parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def given(n_query: int, n_key: int, d_head: int, dtype: torch.dtype = torch.float32, **more) -> dict:
    inputs = bench.problem(n_query, n_key, batch=2, heads=2, kv_heads=1, d_head=d_head, dtype=dtype, **more)
    return {name: x.to(DEVICE) for name, x in inputs.items()}


def spans(n_key: int) -> torch.Tensor:
    return (torch.rand(2, 3, n_key, generator=torch.Generator().manual_seed(1)) < 0.4).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(("n_query", "n_key", "d_head"), [(1, 1, 1), (3, 19, 5), (17, 33, 16), (20, 20, 24)])
def test_is_the_definition(dtype: torch.dtype, n_query: int, n_key: int, d_head: int) -> None:
    more = {"spans": spans(n_key), "recency": (1, 6), "top_k": min(3, n_key), "forgetting": 0.9}
    asked = Question.of(**given(n_query, n_key, d_head, dtype), **more)
    found, wanted = triton_version.attention_stats(asked, 16, 16), naive.attention_stats(asked)
    assert found.backend == "triton"
    if dtype != torch.float32:
        # Weights go into the second product in the input's dtype: the output is as exact as that.
        torch.testing.assert_close(found.out, wanted.out, rtol=0.02, atol=0.02)
        found = type(found)(**vars(found) | {"out": wanted.out})
    assert bench.disagreement(found, wanted) == ""


@pytest.mark.parametrize(
    "scoring",
    [
        {"causal": False},
        {"window": 5},
        {"scale": 0.5, "soft_cap": 4.0},
        {"scale": 0.25, "alibi": torch.tensor([0.5, 0.125])},
        {"segments": torch.tensor([[3] * 11 + [1] * 22, [4] * 20 + [9] * 13])},
    ],
    ids=["both-ways", "window", "soft-cap", "alibi", "packed"],
)
def test_every_rule(scoring: dict) -> None:
    scoring = {name: x.to(DEVICE) if isinstance(x, torch.Tensor) else x for name, x in scoring.items()}
    inputs = given(18, 33, 16, exact="soft_cap" not in scoring)
    asked = Question.of(**inputs, spans=spans(33), recency=(4,), top_k=5, **scoring)
    assert bench.disagreement(triton_version.attention_stats(asked, 16, 16), naive.attention_stats(asked)) == ""


def test_a_part_and_strides() -> None:
    inputs = {name: x.mT.contiguous().mT for name, x in given(18, 20, 8).items()}
    more = {"offset": 0, "first_key": 9, "partial": True, "top_k": 2}
    found = attention_stats(**inputs, **more, backend="triton")
    assert bench.disagreement(found, attention_stats(**inputs, **more, backend="naive")) == ""


def test_refuses_more_than_it_can_hold() -> None:
    with pytest.raises(ValueError, match="up to 64 spans and windows and 64 top keys, not 0 and 65"):
        attention_stats(**given(2, 80, 4), top_k=65, backend="triton")


def test_imports_without_triton() -> None:
    """The package, and the choice of a version on a CPU."""
    program = """
import sys
sys.modules["triton"] = None
import torch
from kernels.attention_stats import attention_stats
x = torch.ones(1, 1, 3, 2)
print(attention_stats(x, x, x).backend)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert ran.stdout.strip() in ("compiled", "streamed"), ran.stderr[-2000:]


COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from kernels.attention_stats.triton_version import _kernel as kernel
fixed = dict(D=64, DV=64, BLOCK_D=64, BLOCK_DV=64, QUERIES=128, KEYS=64, SETS=2, TOP=8, TOP_K=8, WIDEN=False,
             HAS_CAP=True, HAS_SLOPES=True, q_d=1, k_d=1, v_d=1)
types = dict(q_at="*bf16", k_at="*bf16", v_at="*bf16", out_at="*bf16", first_at="*i32", last_at="*i32",
             windows_at="*i32", max_key_at="*i32", top_key_at="*i32", spans_at="*i8", scale="fp32", soft_cap="fp32")
names = kernel.arg_names
signature = {n: "constexpr" if n in fixed else types.get(n, "*fp32" if n.endswith("_at") else "i32") for n in names}
source = ASTSource(kernel, signature, constexprs={(names.index(n),): value for n, value in fixed.items()})
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "num_stages": 2})
assert "wgmma.mma_async" in made.asm["ptx"], "the products do not use the tensor cores"
print(len(made.asm["cubin"]), made.metadata.shared)
"""


def test_compiles_for_a_gpu() -> None:
    """Down to machine code for compute capability 9.0, which needs no GPU; in a process without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment, timeout=240,
        cwd=ROOT,
    )  # fmt: skip
    if "Cannot find ptxas" in ran.stderr:
        pytest.skip("triton has no assembler on this platform")
    assert ran.returncode == 0, ran.stderr[-2000:]
    size, shared = (int(x) for x in ran.stdout.split()[-2:])
    assert size > 1000
    assert shared <= 227 * 1024, "more shared memory than a block may have"
