"""What is edited and read: candidates in the prompt, every head alone, and sets of heads together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Inputs
from analyses._stats import grouped_folds
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.metrics import Metric, Rank
from hooks.pairs import AlignedPair, align
from hooks.sites import Site
from hooks.sweep import Cell, run_sweep

if TYPE_CHECKING:
    from hooks.model import Model

Head = tuple[int, int]
Progress = Callable[[float, str], None]
OTHERS, ANSWER = "others", "answer"
PLAIN, TOGETHER, RANDOM = "as it is", "chosen heads", "other heads of these layers"


@dataclass(frozen=True)
class Question:
    """A prompt with the tokens that heads are made to look at, and the answers that it could have had."""

    number: int
    text: str
    ids: tuple[int, ...]
    answer: int
    rivals: tuple[int, ...]
    keys: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Margin(Metric):
    """logit(answer) less the largest of the rivals' logits, in logits; above 0 where the answer is chosen."""

    answer: int
    rivals: tuple[int, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        return (self.answer, *self.rivals)

    def __call__(self, logits: Tensor) -> Tensor:
        return logits.float()[:, self.answer] - logits.float()[:, list(self.rivals)].amax(dim=1)


def questions_of(model: Model, inputs: Inputs, look_at: str, after: str) -> list[Question]:
    """The clean prompts, each with its candidates' last places behind the last `after`.

    Raises:
        InputError: a prompt without `after`, or with no candidate to look at before its last token, by its number.
    """
    aligned = [align(model, pair) for pair in inputs.pairs]
    known = {_plain(text): token for one in aligned for text, token in
             ((one.pair.answer, one.answer_id), (one.pair.distractor, one.distractor_id))}  # fmt: skip
    return [_question(model, number, one, known, look_at, after) for number, one in enumerate(aligned)]


def _question(model: Model, number: int, one: AlignedPair, known: dict[str, int], look_at: str, after: str) -> Question:
    text, ids = one.pair.clean, list(one.clean_ids)
    pieces = model.str_tokens(ids)
    if after and after not in text:
        raise InputError(f"option after = {after!r}: prompt {number} does not have this text: {text[:60]!r}")
    ends = np.cumsum([len(piece) for piece in pieces])
    start = sum(len(piece) for piece in pieces) - len(text) + text.rfind(after) if after else 0
    places: dict[str, int] = {}
    for place, piece in enumerate(pieces[:-1]):
        if _plain(piece) in known and ends[place] > start:
            places[_plain(piece)] = place
    mine = _plain(one.pair.answer)
    others = tuple(place for word, place in sorted(places.items()) if word != mine)
    own = tuple(place for word, place in places.items() if word == mine)
    named = tuple(at for at, piece in enumerate(pieces[:-1]) if _plain(piece) == _plain(look_at) and ends[at] > start)
    keys = {OTHERS: others, ANSWER: own}.get(look_at, named)
    if not keys:
        wanted = {OTHERS: "no other candidate", ANSWER: "not the answer"}.get(look_at, f"no token {look_at!r}")
        raise InputError(
            f"prompt {number} has {wanted} before its last token{f' and behind {after!r}' if after else ''}: option "
            f"look_at takes {OTHERS}, {ANSWER} or a token's text; candidates are {', '.join(sorted(known))}"
        )
    rivals = tuple(sorted({known[word] for word in places if word != mine} | {one.distractor_id}))
    return Question(number, text, tuple(ids), one.answer_id, rivals, keys)


def _plain(text: str) -> str:
    return text.strip().casefold()


def heads_of(model: Model, names: Sequence[str]) -> list[Head]:
    """Heads from names such as L9H6. Raises InputError for anything else, and for a head that is not there."""
    shape = model.geometry.n_layers, model.geometry.n_heads
    found = []
    for name in dict.fromkeys(names):
        told = re.fullmatch(r"L(\d+)H(\d+)", name.strip())
        if told is None or int(told[1]) >= shape[0] or int(told[2]) >= shape[1]:
            raise InputError(f"option heads {name!r}: valid are L0H0 to L{shape[0] - 1}H{shape[1] - 1}")
        found.append((int(told[1]), int(told[2])))
    return found


def edits(model: Model, values: dict[int, Tensor], one: Question, heads: Sequence[Head]) -> tuple[Patch, ...]:
    """Each head's output at the last token: the mean of its values at the keys. `values` [layer] → [pos kv d_head]."""
    last, share = len(one.ids) - 1, model.geometry.n_heads // model.geometry.n_key_value_heads
    return tuple(
        Patch(Site(layer, "z", head, last), values[layer][list(one.keys), head // share].mean(dim=0)[None])
        for layer, head in heads
    )


def values_of(model: Model, one: Question, layers: Sequence[int]) -> dict[int, Tensor]:
    """[pos kv d_head] of each of these layers."""
    sites = [Site(layer, "v") for layer in sorted(set(layers))]
    run = run_with_cache(model, torch.tensor([one.ids], device=model.device), sites, last_only=True)
    return {int(site.layer or 0): run[site][0] for site in sites}


def _read(
    model: Model, one: Question, cells: Sequence[Sequence[Head]], layers: Sequence[int], progress: Progress
) -> Tensor:
    """[cell, (margin, rank)] with each set of heads edited; an empty one is the prompt as it is."""
    values = values_of(model, one, layers)
    made = [Cell({"cell": index}, edits(model, values, one, heads)) for index, heads in enumerate(cells)]
    metrics = [Margin("margin", "logits", one.answer, one.rivals), Rank("rank", "", one.answer)]
    return run_sweep(model, torch.tensor([one.ids], device=model.device), made, metrics, progress=progress).values


def alone_frame(model: Model, one: Question, layers: Sequence[int], progress: Progress) -> pd.DataFrame:
    """prompt, layer, head, change: of the margin with this head edited alone."""
    heads = [(layer, head) for layer in layers for head in range(model.geometry.n_heads)]
    found = _read(model, one, [[], *([head] for head in heads)], layers, progress)[:, 0]
    change = (found[1:] - found[0]).tolist()
    rows = [(one.number, layer, head, value) for (layer, head), value in zip(heads, change, strict=True)]
    return pd.DataFrame(rows, columns=["prompt", "layer", "head", "change"])


@dataclass(frozen=True, eq=False)
class Choice:
    """Of each prompt its half, and of each half the heads edited in it and as many others of the same layers."""

    half: dict[int, int]
    chosen: tuple[list[Head], list[Head]]
    others: tuple[list[list[Head]], list[list[Head]]]


def choose(
    model: Model, alone: pd.DataFrame, questions: Sequence[Question], given: list[Head], top: int, sets: int, seed: int
) -> Choice:
    """The named heads, or in either half those of largest mean change in the other half."""
    layers = sorted(alone["layer"].unique().tolist())
    every = [(int(layer), head) for layer in layers for head in range(model.geometry.n_heads)]
    if given:
        half = dict.fromkeys((one.number for one in questions), 0)
        picked = (given, given)
    else:
        folds = grouped_folds([one.text for one in questions], 2, seed=seed)
        half = {one.number: int(side) for one, side in zip(questions, folds, strict=True)}
        first, second = (_best(alone[alone["prompt"].map(half) != side], top) for side in (0, 1))
        picked = first, second
    rng = np.random.default_rng(seed)
    others = [[_like(rng, every, mine) for _ in range(sets)] for mine in picked]
    return Choice(half, picked, (others[0], others[1]))


def _best(alone: pd.DataFrame, top: int) -> list[Head]:
    means = alone.groupby(["layer", "head"])["change"].mean().sort_values(ascending=False, kind="stable")
    return [(int(layer), int(head)) for layer, head in means.index[:top]]


def _like(rng: np.random.Generator, every: Sequence[Head], mine: Sequence[Head]) -> list[Head]:
    """As many others, of the same layers where these have enough, else of any."""
    layers = {layer for layer, _ in mine}
    near = [head for head in every if head not in mine and head[0] in layers]
    pool = near if len(near) >= len(mine) else [head for head in every if head not in mine]
    return [pool[place] for place in rng.choice(len(pool), len(mine), replace=False)]


def together_frame(model: Model, one: Question, choice: Choice) -> pd.DataFrame:
    """prompt, arm, margin, likeliest: the prompt as it is, with the chosen heads edited, and with each other set."""
    side = choice.half[one.number]
    sets = [[], choice.chosen[side], *choice.others[side]]
    found = _read(model, one, sets, [layer for heads in sets for layer, _ in heads], lambda *_: None)
    arms = [PLAIN, TOGETHER, *([RANDOM] * len(choice.others[side]))]
    return pd.DataFrame({"prompt": one.number, "arm": arms, "margin": found[:, 0].double().numpy(),
                         "likeliest": (found[:, 1] == 0).numpy()})  # fmt: skip
