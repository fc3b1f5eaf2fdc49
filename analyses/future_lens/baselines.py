"""What the token ahead can be guessed from without a state: how frequent it is, and what followed this token before."""

from __future__ import annotations

from collections import Counter, defaultdict

import pandas as pd
import torch
from torch import Tensor

from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.rows import Rows
from analyses.future_lens.tables import BIGRAM, EMBED, TEXTS, UNIGRAM


def baseline_rows(readout: Readout, rows: Rows, fitted: Tensor, tested: Tensor, ahead: int) -> pd.DataFrame:
    """`TEXTS` of both counts: what stood most often `offset` tokens ahead, of all and of this token, while fitting."""
    parts = []
    for offset in range(1, ahead + 1):
        target = _own(readout, rows, offset)
        unigram, bigram = counted(rows.token[fitted].tolist(), target[fitted].tolist())
        said = {
            UNIGRAM: [unigram] * len(tested),
            BIGRAM: [bigram.get(token, unigram) for token in rows.token[tested].tolist()],
        }
        for name, guesses in said.items():
            hits = torch.tensor(guesses) == target[tested]
            frame = pd.DataFrame({"text": rows.text[tested].numpy(), "precision": hits.double().numpy()})
            means = frame.groupby("text").agg(positions=("precision", "size"), precision=("precision", "mean"))
            parts.append(means.reset_index().assign(lens=name, layer=EMBED, offset=offset, kl=float("nan"))[TEXTS])
    return pd.concat(parts, ignore_index=True)


def counted(tokens: list[int], targets: list[int]) -> tuple[int, dict[int, int]]:
    """The most frequent target, and that of each token; equal counts go to the lower id."""
    after: dict[int, Counter[int]] = defaultdict(Counter)
    for token, target in zip(tokens, targets, strict=True):
        after[token][target] += 1
    return _most(Counter(targets)), {token: _most(found) for token, found in after.items()}


def _most(found: Counter[int]) -> int:
    return min(found, key=lambda token: (-found[token], token))


def _own(readout: Readout, rows: Rows, offset: int) -> Tensor:
    """[row] the token that the model finds most likely `offset` tokens ahead."""
    finals = rows.finals.roll(1 - offset, dims=0)
    return readout.read(finals, finals).top_ids[:, 0].cpu()
