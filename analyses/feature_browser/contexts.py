"""The contexts in which latents are active, by quantile, and the latents that are active together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from analyses._dictionaries.firing import Firing

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BANDS = ("top quarter", "second quarter", "third quarter", "lowest quarter")
HIGHEST = "highest"
TOGETHER = 256
"""Latents whose counts with all others exist at once."""


class Texts:
    """Rows of activations beside the texts that they come from."""

    def __init__(self, text: Ids, position: Ids, corpus: Sequence[Sequence[int]], words: Callable[[int], str]) -> None:
        """`text`, `position` [row]; each text's rows are together and in order, from its second token on."""
        self.text, self.position, self.corpus, self.words = text, position, corpus, words
        names, first = np.unique(text, return_index=True)
        self.start = dict(zip(names.tolist(), first.tolist(), strict=True))

    def context(self, row: int, rows: Ids, values: Floats, reach: int) -> dict[str, Any]:
        """The tokens within `reach` of a row, and the latent's activations on them; a text's first token has none."""
        text, place = int(self.text[row]), int(self.position[row])
        ids = self.corpus[text]
        first, last = max(0, place - reach), min(len(ids), place + reach + 1)
        begins = self.start[text] + first - 1
        low, high = np.searchsorted(rows, [begins + (first == 0), begins + last - first])
        activations: list[float] = [0.0] * (last - first)
        for at, value in zip(rows[low:high] - begins, values[low:high], strict=True):
            activations[int(at)] = float(f"{value:.4g}")
        return {"text": text, "position": place, "first": first,
                "tokens": json.dumps([self.words(one) for one in ids[first:last]], ensure_ascii=False),
                "activations": json.dumps(activations)}  # fmt: skip


def chosen_rows(rows: Ids, values: Floats, texts: Texts, most: int, reach: int) -> Iterator[tuple[str, int, int]]:
    """(band, place within it, row): half of `most` the highest that do not overlap, the others from the quarters.

    Quarters are of the range of ranks of the latent's activations; the middle one of each is shown.
    """
    order = np.argsort(-values, kind="stable")
    taken: list[tuple[int, int]] = []
    highest = max(1, most - len(BANDS))
    for place in order[: 20 * highest].tolist():
        at = (int(texts.text[rows[place]]), int(texts.position[rows[place]]))
        if all(one[0] != at[0] or abs(one[1] - at[1]) > reach for one in taken):
            yield HIGHEST, len(taken), int(rows[place])
            taken.append(at)
        if len(taken) == highest:
            break
    if len(order) <= len(BANDS) * 2:
        return
    edges = np.linspace(0, len(order), len(BANDS) + 1).astype(int)
    for band, low, high in zip(BANDS, edges, edges[1:], strict=False):
        for part in range(max(0, min(1, most - 1))):
            yield band, part, int(rows[order[(low + high) // 2]])


def together(firing: Firing, most: int) -> tuple[Ids, Floats]:
    """([latent most] latents, [latent most] correlations): whose being active correlates most, φ over all rows.

    NaN, and the latent itself, where it is never active or always.
    """
    count, rows = firing.latents, firing.rows
    most = min(most, count - 1)
    active = csr_matrix((np.ones(len(firing.row)), firing.row, firing.pointer), shape=(count, rows))
    share = np.diff(firing.pointer) / max(rows, 1)
    spread = np.sqrt(share * (1 - share))
    others = np.tile(np.arange(count)[:, None], (1, most)).astype(np.int64)
    values = np.full((count, most), np.nan)
    for first in range(0, count, TOGETHER):
        some = slice(first, min(first + TOGETHER, count))
        both = (active[some] @ active.T).toarray() / max(rows, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            phi = (both - np.outer(share[some], share)) / np.outer(spread[some], spread)
        phi[np.arange(len(phi)), np.arange(first, first + len(phi))] = np.nan
        ranked = np.where(np.isfinite(phi), phi, -2.0)
        top = np.argsort(-ranked, axis=1, kind="stable")[:, :most]
        found = np.take_along_axis(ranked, top, axis=1)
        others[some], values[some] = top, np.where(found > -2, found, np.nan)
    return others, values


def bins_of(values: Floats, bins: int) -> tuple[Floats, Ids]:
    """(edges [bins + 1], counts [bins]) of a latent's activations, from 0 to the largest."""
    counts, edges = np.histogram(values, bins, (0.0, float(values.max(initial=0.0)) or 1.0))
    return edges.astype(np.float64), counts.astype(np.int64)
