"""The same over blocks of rows and of the dictionary; never more than [ROWS block] pre-activations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kernels.sparse_encode.naive import Question, SparseCodes
from kernels.vocab_lens.streamed import first_largest

ROWS, BLOCK = 2048, 4096
Triples = tuple[Tensor, Tensor, Tensor]
"""[kept] rows, indices and values."""


@torch.no_grad()
def sparse_encode(
    x: Tensor,
    W: Tensor,
    b: Tensor | None = None,
    *,
    activation: str = "relu",
    k: int | None = None,
    threshold: Tensor | float | None = None,
    block: int = BLOCK,
) -> SparseCodes:
    """Arguments, results and errors of `naive.sparse_encode`; `block` is how many features are looked at together."""
    asked = Question.of(x, W, b, activation, k, threshold)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if activation == "topk":
        parts = [_row_tops(asked, rows, block) for rows in _rows(asked)]
    elif activation == "batch_topk" and asked.threshold is None:
        parts = [_batch_top(asked, block)]
    else:
        parts = [
            _above(asked, rows, some, asked.floor(some)) for rows in _rows(asked) for some in _blocks(asked, block)
        ]
    row, index, value = joined(parts, x.device)
    return SparseCodes.of(row, index, value, (len(x), W.shape[1]), "streamed")


def joined(parts: list[Triples], device: torch.device) -> Triples:
    """All triples one after the other; empty ones if there are none."""
    none = torch.empty(0, dtype=torch.long, device=device)
    columns = zip(*[(none, none, none.float()), *parts], strict=True)
    row, index, value = (torch.cat(column) for column in columns)
    return row, index, value


def largest(found: Triples, count: int, d_dict: int) -> Triples:
    """The `count` largest; equal values by row, then index."""
    row, index, value = found
    order = (row * d_dict + index).argsort()
    order = order[value[order].sort(descending=True, stable=True).indices[:count]]
    return row[order], index[order], value[order]


def _rows(asked: Question) -> Iterator[slice]:
    return (slice(first, first + ROWS) for first in range(0, len(asked.x), ROWS))


def _blocks(asked: Question, block: int) -> Iterator[slice]:
    return (slice(first, first + block) for first in range(0, asked.W.shape[1], block))


def _above(asked: Question, rows: slice, block: slice, floor: Tensor | float) -> Triples:
    z = asked.before(rows, block)
    row, index = (z > floor).nonzero(as_tuple=True)
    return row + rows.start, index + block.start, z[row, index]


def _batch_top(asked: Question, block: int) -> Triples:
    """Candidates above a rising floor; it rises to the smallest kept whenever twice as many as wanted have come in."""
    wanted, d_dict = asked.k * len(asked.x), asked.W.shape[1]
    parts: list[Triples] = []
    floor, held = 0.0, 0
    for rows in _rows(asked):
        for some in _blocks(asked, block):
            # Rows go on outside, so all that come later lose a tie: strictly above is enough. Blocks of one set of rows
            # interleave, hence the float just below.
            parts.append(_above(asked, rows, some, floor))
            held += len(parts[-1][0])
            if held > 2 * wanted:
                parts = [largest(joined(parts, asked.x.device), wanted, d_dict)]
                floor, held = max(0.0, _just_below(parts[0][2][-1])), wanted
    return largest(joined(parts, asked.x.device), wanted, d_dict)


def _just_below(value: Tensor) -> float:
    return float(torch.nextafter(value, torch.full_like(value, float("-inf"))))


def _row_tops(asked: Question, rows: slice, block: int) -> Triples:
    """Running k largest of each row: a block's own k largest beside those of all blocks before it."""
    count = len(asked.x[rows])
    values = torch.empty(count, 0, device=asked.x.device)
    ids = torch.empty(count, 0, dtype=torch.long, device=asked.x.device)
    for some in _blocks(asked, block):
        z = asked.before(rows, some)
        mine, places = first_largest(z, min(asked.k, z.shape[1]))
        # Earlier blocks hold lower indices, so a stable sort keeps equal values in order of index.
        values, order = torch.cat([values, mine], dim=1).sort(dim=1, descending=True, stable=True)
        ids = torch.cat([ids, places + some.start], dim=1).gather(1, order)[:, : asked.k]
        values = values[:, : asked.k]
    row, place = (values > 0).nonzero(as_tuple=True)
    return row + rows.start, ids[row, place], values[row, place]
