"""What probes read: texts or tasks with their labels as sets of classes, and one vector of each at every site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analyses._answers import answered, continuations
from analyses._contract import Context, Inputs
from analyses._stats import Bools, Floats
from hooks.dictionaries import Placed
from hooks.errors import InputError
from hooks.plan import CapturePlan
from hooks.sites import Site

if TYPE_CHECKING:
    from analyses.probes import ProbesSpec
    from hooks.model import Model

RIGHT, WRONG = "right", "wrong"
FEWEST_GROUPS = 2
"""Groups that a class needs, so that it can be fitted on one and tested on another."""
ROW_TOKENS = 2048


@dataclass(frozen=True, eq=False)
class Item:
    """A text to read: its number among the inputs, its tokens, its group, and the classes that count for it."""

    number: int
    text: str
    ids: tuple[int, ...]
    group: str
    classes: tuple[str, ...]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Labelled:
    """Items [row] and their classes.

    Attributes:
        classes: names [class].
        targets: [row class] which classes count for a row.
        left_out: items without a class that has FEWEST_GROUPS groups.
        target: label, right or answer.
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    targets: Bools
    left_out: int
    target: str

    @property
    def groups(self) -> list[str]:
        """[row]."""
        return [one.group for one in self.items]


def items_of(model: Model, inputs: Inputs, spec: ProbesSpec) -> tuple[list[Item], str]:
    """Everything that can be read without running the model, and what the classes are; right and wrong are not known.

    Raises:
        InputError: texts without labels, tasks without them, or a target that texts do not have.
    """
    if inputs.tasks:
        target = spec.target or "right"
        if target == "label" and (bare := [one.text for one in inputs.tasks if not one.label]):
            raise InputError(f"{len(bare)} of {len(inputs.tasks)} tasks have no label, the first: {bare[0]!r}; probe "
                             "--target right or answer, or give labels")  # fmt: skip
        by_target = {"label": lambda one: (one.label,), "answer": lambda one: one.answers, "right": lambda _one: ()}
        return [Item(place, one.text, tuple(model.encode(one.text)), one.group or one.text, by_target[target](one),
                     one.answers) for place, one in enumerate(inputs.tasks)], target  # fmt: skip
    if spec.target not in (None, "label"):
        raise InputError(f"option target = {spec.target!r}: texts have labels alone; give tasks for {spec.target!r}")
    labels, groups = (one or ("",) * len(inputs.texts) for one in (inputs.labels, inputs.groups))
    if unlabelled := [place for place, label in enumerate(labels) if not label]:
        raise InputError(
            f"{len(unlabelled)} of {len(labels)} texts have no label (the first is text {unlabelled[0]}): give "
            'a file of JSON lines such as {"text": "…", "label": "…"}, or --set domains'
        )
    items = []
    for place, (text, label, group) in enumerate(zip(inputs.texts, labels, groups, strict=True)):
        ids = tuple(model.encode(text))[: spec.read_tokens]
        items.append(Item(place, text, ids, group or text, (label,)))
    return items, "label"


def labelled(model: Model, inputs: Inputs, spec: ProbesSpec, context: Context, last: float) -> Labelled:
    """Items with their classes; tasks are answered greedily where the classes are right and wrong.

    Raises:
        InputError: as `items_of`; fewer than two classes with FEWEST_GROUPS groups each (with the counts).
    """
    items, target = items_of(model, inputs, spec)
    if target == "right":
        said = continuations(model, [one.text for one in items], spec.new_tokens,
                             lambda share, words: context.progress(last * share, words))  # fmt: skip
        found = [answered(words, one.answers, whole_words=True) for words, one in zip(said, items, strict=True)]
        items = [Item(one.number, one.text, one.ids, one.group, (RIGHT if fine else WRONG,), one.answers)
                 for one, fine in zip(items, found, strict=True)]  # fmt: skip
    return classed(items, target)


def classed(items: Sequence[Item], target: str) -> Labelled:
    """Classes and targets of items. Names that always go together, such as an answer's aliases, are one class."""
    names = list(dict.fromkeys(name for one in items for name in one.classes))
    columns: dict[tuple[bool, ...], str] = {}
    for name in names:
        columns.setdefault(tuple(name in one.classes for one in items), name)
    counts = {name: len({one.group for one in items if name in one.classes}) for name in columns.values()}
    enough = [name for name in columns.values() if counts[name] >= FEWEST_GROUPS]
    many = [mine for mine, name in columns.items() if name in enough and not all(mine)]
    kept = [name for mine, name in columns.items() if mine in many]
    if len(kept) < 2:
        told = ", ".join(f"{name!r} in {count}" for name, count in list(counts.items())[:8]) or "none"
        raise InputError(
            f"labels are all one class, or too few groups have another: a probe needs two classes that are in "
            f"{FEWEST_GROUPS} groups each and not in every item. Groups by class: {told}"
        )
    targets = np.array(many, dtype=bool).T
    some = np.asarray(targets.any(axis=1))
    rows = tuple(one for one, fine in zip(items, some.tolist(), strict=True) if fine)
    return Labelled(rows, tuple(kept), targets[some], int((~some).sum()), target)


def vectors(
    model: Model,
    items: Sequence[Item],
    sites: Sequence[Site],
    position: str,
    context: Context,
    span: tuple[float, float],
    placed: Placed | None = None,
) -> tuple[dict[Site, Floats], Floats | None]:
    """By site [row d]: at the last token, or the mean over tokens without the first; and latents [row d_sae].

    Raises InputError for activations that are not finite.
    """
    wanted = list(dict.fromkeys([*sites, *([placed.reads] if placed else [])]))
    prompts = {place: one.ids for place, one in enumerate(items)}
    sums = {site: torch.zeros(0) for site in wanted}
    latents = torch.zeros(len(items), placed.dictionary.d_sae) if placed else None
    done = 0
    for pack in CapturePlan(tuple(wanted), "last" if position == "last" else "all", row_tokens=ROW_TOKENS).packs(
        model, prompts
    ):
        rows = torch.tensor([one.index for one in pack.kept for _ in one.positions])
        places = torch.tensor([at for one in pack.kept for at in one.positions])
        lengths = torch.tensor([len(one.token_ids) for one in pack.kept for _ in one.positions])
        share = shares(places, lengths, position)
        for site, values in pack.activations.items():
            found = values.flatten(1).float()
            if not bool(found.isfinite().all()):
                raise InputError(f"activations at {site.label} are not all finite numbers; float32 may help")
            if not len(sums[site]):
                sums[site] = torch.zeros(len(items), found.shape[1])
            sums[site].index_add_(0, rows, found * share[:, None])
            if placed is not None and latents is not None and site == placed.reads:
                codes = placed.dictionary.encode(found)
                latents.index_put_((rows[codes.rows()], codes.index), codes.value * share[codes.rows()], True)
        done += len(pack.kept)
        context.progress(span[0] + (span[1] - span[0]) * done / len(items), f"read {done} of {len(items)} texts")
    return {site: sums[site].double().numpy() for site in sites}, None if latents is None else latents.double().numpy()


def shares(places: Tensor, lengths: Tensor, position: str) -> Tensor:
    """What each token at `places` of texts of `lengths` counts in its text's vector."""
    if position == "last":
        return (places == lengths - 1).float()
    alone = lengths == 1
    return torch.where(alone, 1.0, (places > 0) / (lengths - 1).clamp_min(1))


def words_alone(model: Model, items: Sequence[Item]) -> Floats:
    """[row d_model]: the mean of the embeddings of each text's tokens, which knows the words and not their order."""
    return np.stack([model.W_E[list(one.ids)].float().mean(dim=0).double().cpu().numpy() for one in items])
