"""A neuron's numbers: which one, what it does in the prompt, and what the model says while it is held at a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._neurons import NormUse, Words, rows
from analyses.neuron_reader.computing import MOST_BYTES
from hooks.capture import run_with_cache
from hooks.continuation import ABSENT, continued, end_of_text
from hooks.errors import InputError
from hooks.interventions import Clamp
from hooks.metrics import divergence, log_prob
from hooks.sites import Site
from hooks.sweep_jobs import Cell

if TYPE_CHECKING:
    from analyses.neuron_card import CardSpec
    from hooks.model import Model

SHARES = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
"""Where no values are given: as much as writes this many typical lengths of the residual stream after the layer."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A neuron with its `activations` [pos] in the prompt, and the `residual` lengths [pos] after its layer."""

    layer: int
    neuron: int
    out_norm: float
    activations: Tensor
    residual: Tensor
    logits: Tensor

    @property
    def typical(self) -> float:
        """Median length of the residual stream, without the first token, which is often far longer than all others."""
        return float(self.residual[1:].median() if len(self.residual) > 1 else self.residual[0])


def check_neuron(model: Model, spec: CardSpec) -> None:
    """Raise InputError for a neuron that is not there, naming the valid ones."""
    if spec.neuron is not None and spec.layer is None:
        raise InputError(f"neuron {spec.neuron} of which layer? give --layer too")
    if spec.layer is not None:
        Site(spec.layer, "mlp_post").check(model.geometry)
    most = model.geometry.d_mlp
    if spec.neuron is not None and spec.neuron >= most:
        raise InputError(f"neuron {spec.neuron} does not exist: valid neurons of a layer are 0 to {most - 1}")
    if spec.controls >= most:
        raise InputError(f"controls {spec.controls}: a layer has {most - 1} other neurons")


@torch.no_grad()
def choose(model: Model, ids: Tensor, layer: int | None, neuron: int | None) -> Chosen:
    """The neuron asked for; where one is not named, the one that writes most at the last token of `ids` [1 pos]."""
    if layer is None or neuron is None:
        layer, neuron = _longest(model, ids, range(model.geometry.n_layers) if layer is None else [layer])
    sites = Site(layer, "mlp_post"), Site(layer, "resid_post")
    run = run_with_cache(model, ids, sites, last_only=True)
    activations, residual = (run[site][0].float().cpu() for site in sites)
    norm = float(model.W_out(layer)[neuron].float().norm())
    return Chosen(layer, neuron, norm, activations[:, neuron], residual.norm(dim=-1), run.logits[:, -1])


def _longest(model: Model, ids: Tensor, layers: Sequence[int]) -> tuple[int, int]:
    """Layer and neuron of the longest output at the last token."""
    together = max(1, MOST_BYTES // (4 * ids.shape[1] * model.geometry.d_mlp))
    best = (-1.0, 0, 0)
    for start in range(0, len(layers), together):
        chunk = layers[start : start + together]
        run = run_with_cache(model, ids, [Site(one, "mlp_post") for one in chunk], last_only=True)
        for one in chunk:
            written = run[Site(one, "mlp_post")][0, -1].float().abs() * model.W_out(one).float().norm(dim=1)
            best = max(best, (float(written.max()), one, int(written.argmax())), key=lambda found: found[0])
    return best[1:]


@torch.no_grad()
def promoter(model: Model, target: int, layer: int | None, norm: NormUse) -> tuple[int, int]:
    """Layer and neuron, of this layer or of all, in whose output direction a token stands out most over the vocabulary.

    It is the neuron reader's z without its search: mean and spread of a direction's products come from two moments of
    the unembedding.
    """
    W_U = model.W_U.float()
    middle, square = W_U.mean(dim=1), W_U @ W_U.T / W_U.shape[1]
    best = (-float("inf"), 0, 0)
    for one in range(model.geometry.n_layers) if layer is None else [layer]:
        directions = rows(model, one, "out", norm).float()
        mean = directions @ middle
        spread = (((directions @ square) * directions).sum(dim=1) - mean.square()).clamp_min(1e-20).sqrt()
        z = (directions @ W_U[:, target] - mean) / spread
        # A neuron that writes nothing promotes nothing.
        z = z.masked_fill(~directions.any(dim=1), -float("inf"))
        best = max(best, (float(z.max()), one, int(z.argmax())), key=lambda found: found[0])
    return best[1:]


def lines_of(model: Model, chosen: Chosen, spec: CardSpec) -> pd.DataFrame:
    """What is held where: kind, held (a neuron), value, share; the unchanged run first, then by value.

    A control is another neuron of the layer, held at the value that makes what it writes as long.
    """
    typical, own = chosen.typical, chosen.out_norm
    if own == 0.0:
        raise InputError(f"neuron {chosen.neuron} of layer {chosen.layer} writes nothing: its output weights are zero")
    values = list(dict.fromkeys(spec.values)) or [share * typical / own for share in SHARES]
    others = np.random.default_rng(spec.draw_seed).permutation(model.geometry.d_mlp)
    norms = model.W_out(chosen.layer).float().norm(dim=1).cpu()
    drawn = [int(one) for one in others if one != chosen.neuron and norms[one] > 0][: spec.controls]
    rows: list[dict[str, Any]] = [{"kind": "unchanged", "held": None, "value": np.nan, "share": np.nan}]
    for value in values:
        share = value * own / typical
        rows.append({"kind": "neuron", "held": chosen.neuron, "value": value, "share": share})
        rows += [
            {"kind": "control", "held": one, "value": value * own / float(norms[one]), "share": share} for one in drawn
        ]
    frame = pd.DataFrame(rows)
    return frame.assign(held=frame["held"].astype("Int64"), line=range(len(frame)))


def clamped(
    model: Model, ids: Tensor, chosen: Chosen, lines: pd.DataFrame, target: int, new: int, context: Context
) -> tuple[pd.DataFrame, Tensor]:
    """The lines with log_prob of the target and kl at the first new token, and the tokens said [line new]."""
    site = Site(chosen.layer, "mlp_post")
    cells = []
    for row in lines.to_dict("records"):
        value = row["value"]
        edits = () if row["kind"] == "unchanged" else (Clamp(site, value, value, int(row["held"]), when="always"),)
        cells.append(Cell({"line": row["line"]}, edits))
    metrics = [log_prob(target), divergence(chosen.logits)]
    done = continued(model, ids, cells, metrics, new, context.progress, stop=end_of_text(model))
    values = done.values.cpu().numpy().astype(float)
    return lines.assign(log_prob=values[:, 0], kl=values[:, 1]), done.tokens


def said_frame(model: Model, lines: pd.DataFrame, said: Tensor, direction: Tensor, words: Words) -> pd.DataFrame:
    """Every new token of every line, with how far it stands out in what the neuron writes, `direction` [d_model]."""
    rows = []
    for line, ids in zip(lines["line"], said.tolist(), strict=True):
        kept = [one for one in ids if one != ABSENT]
        products = direction @ model.W_U[:, kept].float()
        z = words.z(products[None])[0].tolist()
        for step, (one, text, far) in enumerate(zip(kept, model.str_tokens(kept), z, strict=True)):
            rows.append({"line": line, "step": step + 1, "token": text, "token_id": one, "z": far})
    return pd.DataFrame(rows, columns=["line", "step", "token", "token_id", "z"])
