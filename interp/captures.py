"""Captures: run prompts through a model once and keep chosen activations in the store; interrupted ones resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.capture_admin import nonfinite_in
from data.captures import CaptureWriter, Spoken
from hooks.captured import Kept
from hooks.errors import InputError
from hooks.plan import CaptureCost, CapturePlan
from hooks.progress import Progress, silent
from hooks.sites import KINDS, MODEL_NAMES, Site
from interp.capture_fit import require_room, room
from interp.inputs import Request
from interp.workbench import Workbench

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True)
class Captured:
    """A finished capture: its name, how many prompts it holds, how many of them were there before, and what it cost.

    `nonfinite` counts its numbers that are NaN or infinite; the table `extents` says where they are.
    """

    name: str
    prompts: int
    resumed: int
    cost: CaptureCost
    nonfinite: int = 0


def sites_of(model: Model, names: Sequence[str], layers: Sequence[int]) -> tuple[Site, ...]:
    """Sites from TransformerLens names or kinds; a kind such as `resid_post` means every layer, or the given ones."""
    found: list[Site] = []
    for name in names:
        if name in MODEL_NAMES:
            found.append(Site(None, name))
        elif name in KINDS:
            found += [Site(layer, name) for layer in layers or range(model.geometry.n_layers)]
        else:
            found.append(Site.parse(name))
    return tuple(dict.fromkeys(found))


def capture(
    bench: Workbench, model: Model, name: str, prompts: Sequence[str], plan: CapturePlan, progress: Progress = silent,
    *, cost: CaptureCost | None = None,
) -> Captured:  # fmt: skip
    """Capture `prompts` under `name`; prompts already committed under that name are skipped.

    `cost` is what the plan said of these prompts, when somebody has asked it already: it times forwards to know.

    Raises:
        InputError: no prompts, sites the model lacks, more bytes than the disk or memory has left (the smaller plan
            that fits is named), or a name already used for another model, plan or prompts.
    """
    ids = {index: model.encode(text) for index, text in enumerate(prompts)}
    cost = cost or plan.cost(model, ids)
    require_room(plan, model, ids, cost, *room(bench.workspace))
    texts = _Texts(model)
    with CaptureWriter(bench.store, name, model.identity.as_dict(), plan.as_dict()) as writer:
        done = writer.done()
        for pack in plan.packs(model, {i: p for i, p in ids.items() if i not in done}, progress):
            activations = {(site.layer, _column(site)): value for site, value in pack.activations.items()}
            spoken = [texts.spoken(one, prompts[one.index]) for one in pack.kept]
            writer.add_pack(spoken, activations, pack.attention, copy=False)
    return Captured(name, len(prompts), len(done), cost, nonfinite_in(bench.store, name))


class _Texts:
    """The text of tokens, each decoded once."""

    def __init__(self, model: Model) -> None:
        self._model, self._known = model, dict[int, str]()

    def spoken(self, one: Kept, text: str) -> Spoken:
        """A prompt as the catalogue wants it."""
        kept = [one.token_ids[place] for place in one.positions]
        new = sorted(set(kept) - self._known.keys())
        self._known.update(zip(new, self._model.str_tokens(new), strict=True))
        words = [self._known[token] for token in kept]
        return Spoken(one.index, text, kept, words, list(one.positions), list(one.steps))


def _column(site: Site) -> str:
    return site.name if site.head is None else f"{site.name}[{site.head}]"


def read_prompts(model: Model, request: Request, lines: str | None) -> list[str]:
    """The prompts to capture: one, the clean prompts of pairs, or the lines of a text or JSONL file (`text`)."""
    if lines is None:
        inputs = request.resolve(model)
        return [inputs.prompt] if inputs.prompt is not None else [pair.clean for pair in inputs.pairs]
    path = Path(lines)
    try:
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"prompt file {path} cannot be read: {error}") from error
    texts = [_text(path, number, row) for number, row in enumerate(rows, 1)] if path.suffix == ".jsonl" else rows
    if not texts:
        raise InputError(f"prompt file {path} holds no prompt")
    return texts


def _text(path: Path, number: int, row: str) -> str:
    try:
        given: Any = json.loads(row)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {number} is not JSON: {error}") from error
    found = given.get("text", given.get("prompt")) if isinstance(given, dict) else None
    if not isinstance(found, str):
        raise InputError(f"{path} line {number} needs a string under 'text' or 'prompt'")
    return found
