"""Memory far below the pattern's, and answers that do not depend on threads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels._compiled import why_not
from kernels.attention_stats import attention_stats, bench, compiled
from kernels.attention_stats.scores import Rule

SIZES = {"batch": 1, "heads": 4, "kv_heads": 2, "d_head": 16}


@pytest.mark.skipif(bool(why_not(compiled.SOURCE)), reason="needs a C compiler")
def test_threads_do_not_change_the_answer() -> None:
    inputs, threads = bench.problem(150, 300, **SIZES, exact=False), torch.get_num_threads()
    asked = {"top_k": 5, "forgetting": 0.9, "spans": torch.rand(1, 3, 300) < 0.4, "backend": "compiled"}
    answers = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            answers.append(attention_stats(**inputs, **asked))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(answers[0].out, answers[1].out)
    assert torch.equal(answers[0].key_mass, answers[1].key_mass)
    assert torch.equal(answers[0].span_mass, answers[1].span_mass)


def test_streamed_never_holds_the_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, finish = [], Rule.finish

    def watched(self, products, rows, keys, heads=None):
        sizes.append(tuple(products.shape[2:]))
        return finish(self, products, rows, keys, heads)

    monkeypatch.setattr(Rule, "finish", watched)
    attention_stats(**bench.problem(100, 400, **SIZES), forgetting=1.0, backend="streamed", queries=16, keys=64)
    assert max(rows for rows, _ in sizes) == 16
    assert max(keys for _, keys in sizes) == 64
    assert len(sizes) < 2 * 7 * 7, "blocks that causality hides are skipped"


@pytest.mark.skipif(bool(why_not(compiled.SOURCE)), reason="needs a C compiler")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of one call")
def test_memory_is_a_sliver_of_the_pattern() -> None:
    """The goal, results included, at a length where they are one part in twenty-five of the pattern."""
    version = {"compiled": compiled.attention_stats}
    found = bench.bench(4096, repeats=1, checked_at=40, versions=version)["versions"]["compiled"]
    assert found["share_of_pattern"] < 0.05
