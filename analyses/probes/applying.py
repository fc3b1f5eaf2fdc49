"""What a probe's direction does: ablate, patch or add it, and read the probe, the loss and what comes next.

Everything is measured on texts that the probe was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor

from analyses._answers import first_tokens
from analyses._common import steps
from analyses._contract import Context
from analyses._edits import Edit, Place, ProjectOut, Push, Redirected, random_units
from analyses._stats import Bools, Floats
from analyses.probes.kept import Placed
from analyses.probes.reading import Item
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.metrics import divergence, log_prob_of_any
from hooks.sites import Site
from kernels.vocab_lens import vocab_lens

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec
    from hooks.model import Model

PROBE, RANDOM, NOTHING = "probe", "random_direction", "nothing"
CHUNK = 8


@dataclass(frozen=True)
class Cell:
    """One edit of one arm; `make(toward)` gives it for a text, which is of the probe's class or not."""

    edit: str
    amount: float | None
    arm: str
    draw: int | None
    make: Any

    def row(self) -> dict[str, Any]:
        """Its coordinates in a table."""
        return {"edit": self.edit, "amount": self.amount, "arm": self.arm, "draw": self.draw}


def cells_of(one: Placed, spec: ProbesSpec) -> list[Cell]:
    """The run without an edit, then every edit: along the probe, and as far along random directions."""
    direction, centre = torch.from_numpy(one.direction).float(), torch.from_numpy(one.centre).float()
    basis = torch.from_numpy(one.probe.subspace()).float()
    apart = one.means[0] - one.means[1]
    made: list[tuple[str, float | None, Any]] = []
    if "ablate" in spec.edits:
        made.append(("ablate", None, lambda _mine: ProjectOut(one.site, basis, centre)))
    if "patch" in spec.edits:
        made.append(("patch", None, lambda mine: Place(one.site, direction, one.means[1 if mine else 0])))
    if "steer" in spec.edits:
        made += [("steer", amount, partial(_push, one.site, direction * amount * apart)) for amount in spec.amounts]
    drawn = random_units(len(centre), spec.random_draws, spec.draw_seed)
    found = [Cell(NOTHING, None, NOTHING, None, None)]
    for edit, amount, make in made:
        found.append(Cell(edit, amount, PROBE, None, make))
        found += [Cell(edit, amount, RANDOM, draw, partial(_redirected, make, unit, direction))
                  for draw, unit in enumerate(drawn)]  # fmt: skip
    return found


def _push(site: Site, vector: Tensor, _mine: bool) -> Edit:
    return Push(site, vector)


def _redirected(make: Any, unit: Tensor, along: Tensor, mine: bool) -> Edit:
    inner = make(mine)
    return Redirected(inner.site, inner, unit, along)


def effects(
    model: Model, one: Placed, items: Sequence[Item], targets: Bools, spec: ProbesSpec, context: Context,
    span: tuple[float, float],
) -> pd.DataFrame:  # fmt: skip
    """A row a held-out item, edit, arm and draw: see `tables.EDITS`."""
    cells, frames = cells_of(one, spec), []
    starts = range(0, len(items), CHUNK)
    for start, inner in steps(context, starts, "chunk of held-out texts", first=span[0], last=span[1]):
        chosen = slice(start, start + CHUNK)
        compute = partial(_chunk, model, one, items[chosen], targets[chosen], cells, inner)
        frames.append(context.part(f"edits from text {start}", compute))
    return pd.concat(frames, ignore_index=True)


def _chunk(
    model: Model, one: Placed, items: Sequence[Item], targets: Bools, cells: Sequence[Cell], context: Context
) -> pd.DataFrame:
    rows = []
    for place, (item, mine) in enumerate(zip(items, targets, strict=True)):
        context.progress(place / len(items), f"text {item.number}, {len(cells)} edits")
        base: Read | None = None
        for cell in cells:
            edits = [cell.make(bool(mine[one.toward]))] if cell.make else []
            found = read(model, item.ids, one, edits)
            base = base or found
            rows.append(
                {"item": item.number, "group": item.group, **cell.row(), **_told(model, item, mine, one, found, base)}
            )
    frame = pd.DataFrame(rows)
    return frame.assign(draw=frame["draw"].astype("Int64"), amount=frame["amount"].astype(float))


@dataclass(frozen=True, eq=False)
class Read:
    """A run: the probed vector [d], nats a predicted token (NaN for one token), logits after the text [d_vocab]."""

    vector: Floats
    loss: float
    logits: Tensor


def read(model: Model, ids: Sequence[int], one: Placed, edits: Sequence[Edit]) -> Read:
    """One forward, edited. Raises InputError for logits that are not finite."""
    tokens = torch.tensor([list(ids)], device=model.device)
    final = Site(model.geometry.n_layers - 1, "resid_post")
    run = run_with_cache(model, tokens, [one.site, final], edits, last_only=True)
    if not bool(run.logits.isfinite().all()):
        raise InputError("the edited model's logits are not finite; give smaller amounts, or try float32")
    loss = float("nan")
    if len(ids) > 1:
        states = model.final_norm(rearrange(run[final][:, :-1], "1 pos d_model -> pos d_model"))
        log_probs = vocab_lens(states, model.W_U, model.b_U, targets=tokens[0, 1:, None]).target_log_probs
        loss = -float(log_probs.double().mean())
    values = run[one.site].flatten(2)[0].double().cpu().numpy()
    many = len(values) > 1 and one.position == "mean"
    return Read(values[1:].mean(axis=0) if many else values[-1], loss, run.logits[0, -1])


def _told(model: Model, item: Item, mine: Bools, one: Placed, found: Read, base: Read) -> dict[str, Any]:
    scores = one.probe.scores(found.vector[None])[0]
    told = {
        "predicted": one.classes[int(scores.argmax())], "hit": float(mine[int(scores.argmax())]),
        "toward": float(scores.argmax() == one.toward),
        "moved": float(np.linalg.norm(found.vector - base.vector)),
        "loss": found.loss, "loss_added": found.loss - base.loss,
        "kl": float(divergence(base.logits)(found.logits[None])[0]), "answer_added": float("nan"),
    }  # fmt: skip
    if item.answers:
        metric = log_prob_of_any(first_tokens(model, item.answers))
        told["answer_added"] = float(metric(found.logits[None])[0] - metric(base.logits[None])[0])
    return told
