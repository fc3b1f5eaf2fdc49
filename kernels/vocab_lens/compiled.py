"""The same with blocks of logits small enough to be read from the cache, by one compiled pass (`scan.c`).

The product of a block is torch's; the pass takes about as long as reading the block once, where the streamed version
reads it a dozen times. Beside the results it holds one block of logits, the windows of targets, and with references
[reference block] of their weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor

from kernels.vocab_lens import native, streamed
from kernels.vocab_lens.naive import Question, VocabLens
from kernels.vocab_lens.native import Block, State
from kernels.vocab_lens.near import CAPACITY, Windows

ROWS, BLOCK = 1024, 384
"""Most rows and vocabulary ids a block of one thread: 1.5 MB of logits, which its second-level cache holds."""

BUDGET = 64 << 20
"""Bytes of running state, and of references' weights."""


@torch.no_grad()
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
    block: int = BLOCK,
) -> VocabLens:
    """Arguments, results and errors of `naive.vocab_lens`; `block` is how many ids are looked at together.

    A row with NaN or infinity among its logits gets NaN statistics, and ids without meaning.

    Raises:
        ValueError: also tensors that are not on the CPU.
        kernels._compiled.NoCompiler: no compiled code here, and why.
    """
    asked = Question.of(hidden, W_U, b_U, k, targets, reference, reference_index, js)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if hidden.device.type != "cpu":
        raise ValueError(f"hidden must be on the CPU for compiled code, got {hidden.device}")
    native.require()
    parts = [_part(some, block) for some in _split(asked, block)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _split(asked: Question, block: int) -> Iterator[Question]:
    """Sets of rows whose state, and whose references' weights, keep to the budget."""
    rows, d_model = asked.hidden.shape
    step = BUDGET // (asked.k * 12 + asked.targets.shape[1] * (CAPACITY * 12 + 24) + 64)
    if asked.hidden.dtype != torch.float32 or not asked.hidden.is_contiguous():
        step = min(step, BUDGET // (d_model * 4))
    if asked.reference is not None and asked.reference.shape[0] * block * 4 > BUDGET:
        step = min(step, BUDGET // (block * 4))
    step = max(step, 1)
    for first in range(0, max(rows, 1), step):
        some = slice(first, first + step)
        reference, index = asked.reference, asked.reference_index
        if reference is not None and index is not None and step < rows:
            used, index = index[some].unique(return_inverse=True)
            reference = reference[used]
        yield replace(
            asked, hidden=asked.hidden[some], targets=asked.targets[some], reference=reference, reference_index=index
        )


def _joined(parts: list[VocabLens]) -> VocabLens:
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(VocabLens) if f.name != "backend"}
    whole = {name: None if column[0] is None else torch.cat(column) for name, column in columns.items()}
    return VocabLens(**whole, backend="compiled")  # type: ignore[arg-type]


def _part(asked: Question, block: int) -> VocabLens:
    windows = Windows.of(asked)
    index = None if asked.reference_index is None else asked.reference_index.long().contiguous()
    own = State.of(asked.hidden.shape[0], asked.k, windows, index)
    theirs = None if asked.reference is None else State.of(asked.reference.shape[0], 1)
    _scan_all(asked, own, theirs, block)
    log_sum_exp, total = own.log_sum_exp, own.tensors["sum"]
    ranks, logits, sure = windows.read(asked.targets)
    kl = js = None
    if theirs is not None and index is not None:
        S, A = theirs.tensors["sum"][index], theirs.tensors["moment"][index]
        kl = ((A - own.tensors["cross"]) / S - S.log() + total.log()).float()
        js = _mixed(asked, index, log_sum_exp, theirs.log_sum_exp, block) if asked.js else None
    found = VocabLens(
        top_ids=own.tensors["top_ids"],
        top_log_probs=(own.tensors["top_values"] - log_sum_exp[:, None]).float(),
        log_sum_exp=log_sum_exp.float(),
        entropy=(total.log() - own.tensors["moment"] / total).float(),
        target_ranks=ranks,
        target_log_probs=(logits - log_sum_exp[:, None]).float(),
        kl=kl,
        js=js,
        backend="compiled",
    )
    return found if bool(sure.all()) else reread(found, asked, ~sure)


def reread(found: VocabLens, asked: Question, unsure: Tensor) -> VocabLens:
    """The same answer, in place, with all fields of the [row] `unsure` rows as the streamed version reads them."""
    index = None if asked.reference_index is None else asked.reference_index[unsure]
    again = streamed.vocab_lens(
        asked.hidden[unsure], asked.W_U, asked.bias, k=asked.k, targets=asked.targets[unsure],
        reference=asked.reference, reference_index=index, js=asked.js,
    )  # fmt: skip
    for field in fields(VocabLens):
        column = getattr(found, field.name)
        if isinstance(column, Tensor):
            column[unsure] = getattr(again, field.name)
    return found


def _scan_all(asked: Question, own: State, theirs: State | None, block: int) -> None:
    hidden = asked.hidden.float().contiguous()
    reference = None if asked.reference is None else asked.reference.float()
    threads = torch.get_num_threads()
    together = max(1, min(ROWS, -(-len(hidden) // threads)))
    buffers = torch.empty(threads, together, min(block, asked.W_U.shape[1]))
    for part in _vocabulary(asked, block):
        if theirs is not None and reference is not None:
            total, peak = theirs.tensors["sum"].clone(), theirs.tensors["peak"].clone()
            logits = part.product(reference)
            theirs.absorb(logits, 0, part.first)
            native.weigh(logits, theirs.tensors["peak"])
            own.compare(logits, total, torch.where(peak.isinf(), 0.0, peak - theirs.tensors["peak"]))
        own.absorb_product(part, hidden, buffers)


def _vocabulary(asked: Question, block: int) -> Iterator[Block]:
    """Columns and bias, converted once a block."""
    for first in range(0, asked.W_U.shape[1], block):
        columns = asked.W_U[:, first : first + block].float()
        plain = 1 in columns.stride() and min(columns.shape) > 1
        bias = None if asked.bias is None else asked.bias[first : first + block].float().contiguous()
        yield Block(first, columns if plain else columns.contiguous(), bias)


def _mixed(asked: Question, index: Tensor, mine: Tensor, theirs: Tensor, block: int) -> Tensor:
    """[row] Jensen-Shannon divergence, in a second pass over the blocks with the log-sum-exps known."""
    assert asked.reference is not None
    twice, buffer = torch.zeros_like(mine), torch.empty(ROWS, block)
    for part in _vocabulary(asked, block):
        reference = part.product(asked.reference.float())
        for at in range(0, asked.hidden.shape[0], ROWS):
            rows = slice(at, at + ROWS)
            logits = part.product(asked.hidden[rows].float(), buffer)
            native.mixture(logits, mine[rows], reference, theirs, index[rows], twice[rows])
    return (twice / 2).float()
