"""Fit a lens at each layer, score it beside what it must beat, and read one text with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._common import POSITION
from analyses._contract import Column, Context
from analyses._trained_lenses.keeping import Key
from analyses._trained_lenses.options import TrainedLensSpec
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.scoring import AVERAGE, score
from analyses._trained_lenses.training import Data, fit, translator_of
from analyses._trained_lenses.translators import Affine

if TYPE_CHECKING:
    from hooks.model import Model

SQUARES = "least squares"
OUTPUT = "output"
PICTURED = 16
"""Tokens of a held-out text that are pictured where no prompt is given."""


@dataclass(frozen=True, eq=False)
class Job:
    """One lens to fit: its key, the same as columns, and what makes its data."""

    key: Key
    columns: Mapping[str, int]
    data: Callable[[], Data]

    @property
    def name(self) -> str:
        """For people: "layer 7", "layer 7 offset 2", or "embedding offset 2" for a layer below 0."""
        words = " ".join(f"{name} {value}" for name, value in self.columns.items())
        return words.replace("layer -1", "embedding")


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fitted maps and, where the fit began there, the least-squares ones; a row a check of every fit."""

    lenses: dict[Key, Affine]
    squares: dict[Key, Affine]
    curves: pd.DataFrame


def fit_all(jobs: Sequence[Job], readout: Readout, spec: TrainedLensSpec, context: Context, first: float) -> Fitted:
    """Fit one after another; each takes an equal share of the progress bar from `first` to 0.9."""
    lenses, squares, curves = {}, {}, []
    for index, job in enumerate(jobs):
        start = first + (0.9 - first) * index / len(jobs)

        def told(share: float, words: str, start: float = start) -> None:
            context.progress(start + (0.9 - first) / len(jobs) * share, words)

        data = job.data()
        translator = translator_of(data)
        if spec.start == "least_squares":
            translator.to_least_squares(spec.ridge)
            squares[job.key] = translator.plain()
        inner = replace(context, progress=told)
        found, curve = fit(translator, data, readout.divergence, spec.schedule(), inner, job.name)
        lenses[job.key] = found
        curves.append(curve.assign(**job.columns)[[*job.columns, *curve.columns]])
    return Fitted(lenses, squares, pd.concat(curves, ignore_index=True))


def score_all(
    jobs: Sequence[Job], ways: Mapping[str, Mapping[Key, Affine]], against: str, readout: Readout,
    average: Tensor | None, context: Context,
) -> pd.DataFrame:  # fmt: skip
    """Every job's tested rows read by the base alone (`against`), by each way that has its key, and by no state."""
    parts = []
    for index, job in enumerate(jobs):
        context.progress(0.9 + 0.1 * index / len(jobs), f"testing {job.name}")
        data = job.data()
        base, x, finals = data.at(data.tested)
        text = data.text[data.tested]
        read = {name: lenses[job.key](base, x) for name, lenses in ways.items() if job.key in lenses}
        states = {against: base} | read
        parts += [score(readout, one, finals, text, name, job.columns) for name, one in states.items()]
        if average is not None:
            parts.append(score(readout, base, finals, text, AVERAGE, job.columns, average))
    return pd.concat(parts, ignore_index=True)


def cells_table(
    model: Model, readout: Readout, ids: Sequence[int], finals: Tensor,
    states: Iterable[tuple[int, str, Tensor]],
) -> pd.DataFrame:  # fmt: skip
    """`CELLS` of one text: (layer, lens, states [pos d_model]) one after another, and the model's output on top."""
    tokens, parts = model.str_tokens(list(ids)), []
    for layer, lens, one in (*states, (model.geometry.n_layers - 1, OUTPUT, finals)):
        found = readout.read(one, finals)
        assert found.kl is not None
        top = found.top_ids[:, 0].tolist()
        parts.append(pd.DataFrame({
            "layer": layer, "lens": lens, "position": np.arange(len(ids)), "token": tokens, "token_id": list(ids),
            "top": model.str_tokens(top), "top_id": top,
            "probability": found.top_log_probs[:, 0].double().exp().cpu().numpy(),
            "kl": found.kl.clamp_min(0.0).double().cpu().numpy(),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def pictured(model: Model, prompt: str | None, held_out: Sequence[int]) -> tuple[list[int], str]:
    """The token ids whose cells are pictured, and what they are of."""
    if prompt is not None:
        return model.encode(prompt), "the prompt"
    return list(held_out[:PICTURED]), "the beginning of a text that was not fitted on"


def average_of(readout: Readout, finals: Tensor, rows: Tensor) -> Tensor:
    """The mean distribution over the rows fitted on, [d_vocab] in nats."""
    with torch.no_grad():
        return readout.average(finals[rows.to(finals.device)])


CELLS = (
    Column("layer", "", "layer whose output is read; the model's own output stands at the last one"),
    Column("lens", "", f"what reads it; {OUTPUT}: the model itself"),
    POSITION,
    Column("token", "", "the text's token there"),
    Column("token_id", "", "its id"),
    Column("top", "", "most likely next token"),
    Column("top_id", "", "its id"),
    Column("probability", "fraction", "its probability"),
    Column("kl", "nats", "KL(model's output ‖ lens) there"),
)
