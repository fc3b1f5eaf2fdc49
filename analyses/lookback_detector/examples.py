"""What a detector is fitted on and compared with: labelled spans or windows of answers, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analyses._stats import Bools, Floats
from analyses.lookback.reading import Reading
from hooks.errors import InputError

Features = Literal["span", "window"]
ASKING = 2
"""Lines of a prompt's end that a baseline reads: the question, and how the answer begins."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to be told apart.

    Attributes:
        rows: one row an example: task, kind, group, asked (last lines of the prompt), right, first, tokens, and
            the scores of the untrained baselines.
        ratios: [example layer head] means over the example's tokens.
        states: [example chosen_layer d_model] likewise.
    """

    rows: pd.DataFrame
    ratios: Floats
    states: Floats

    def taken(self, chosen: Bools) -> Examples:
        """The chosen examples."""
        keep = np.asarray(chosen, dtype=bool)
        return Examples(self.rows[keep].reset_index(drop=True), self.ratios[keep], self.states[keep])


def examples(readings: Sequence[Reading], features: Features, window: int) -> Examples:
    """Examples of every answer that has a token.

    span: a right answer is one example. An answer with wrong tokens gives them, joined along time, as a wrong one, and
    what stands before the first and after the last of them as a right one each (Lookback Lens' predefined spans).
    window: every `window` tokens in a row, all tokens of a shorter answer; wrong if any of them is.

    Raises:
        InputError: no answer has a token.
    """
    rows, ratios, states = [], [], []
    for reading in readings:
        cut = _spans(reading.right) if features == "span" else _windows(reading.right, window)
        for places, right in cut:
            rows.append(_row(reading, places, right))
            ratios.append(reading.ratios[places].mean(axis=0))
            states.append(reading.states[places].mean(axis=0))
    if not rows:
        raise InputError(
            f"no generated tokens: in all {len(readings)} tasks the model ends its answer at once; give prompts that "
            "begin the answer, or a larger number of new tokens"
        )
    return Examples(pd.DataFrame(rows), np.stack(ratios), np.stack(states))


def _spans(right: Sequence[bool]) -> list[tuple[list[int], bool]]:
    wrong = [place for place, fine in enumerate(right) if not fine]
    if not wrong:
        return [(list(range(len(right))), True)] if right else []
    parts = [(list(range(wrong[0])), True), (wrong, False), (list(range(wrong[-1] + 1, len(right))), True)]
    return [(places, fine) for places, fine in parts if places]


def _windows(right: Sequence[bool], window: int) -> list[tuple[list[int], bool]]:
    if not right:
        return []
    starts = range(max(len(right) - window, 0) + 1)
    cut = [list(range(start, min(start + window, len(right)))) for start in starts]
    return [(places, all(right[place] for place in places)) for places in cut]


def _row(reading: Reading, places: list[int], right: bool) -> dict[str, object]:
    item = reading.item
    return {
        "task": item.number, "kind": item.kind or "tasks", "group": item.cluster,
        "asked": "\n".join(item.asked.splitlines()[-ASKING:]),
        "right": right, "first": places[0], "tokens": len(places),
        "mean_ratio": float(reading.ratios[places].mean()), "entropy": float(reading.entropy[places].mean()),
        "log_prob": float(reading.log_probs[places].mean()),
    }  # fmt: skip
