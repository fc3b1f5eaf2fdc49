"""Captures: run prompts through a model once and keep chosen activations in the store; interrupted ones resume."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.captures import CaptureWriter
from hooks.errors import InputError
from hooks.plan import CaptureCost, CapturePlan
from hooks.progress import Progress, silent
from hooks.sites import KINDS, MODEL_NAMES, Site
from interp.inputs import Request
from interp.workbench import Workbench

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True)
class Captured:
    """A finished capture: its name, how many prompts it holds, how many of them were there before, and what it cost."""

    name: str
    prompts: int
    resumed: int
    cost: CaptureCost


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
    bench: Workbench, model: Model, name: str, prompts: Sequence[str], plan: CapturePlan, progress: Progress = silent
) -> Captured:
    """Capture `prompts` under `name`; prompts already committed under that name are skipped.

    Raises:
        InputError: no prompts, sites the model lacks, more bytes than the disk has left, or a name already used for
            another model, plan or prompts.
    """
    ids = {index: model.encode(text) for index, text in enumerate(prompts)}
    cost = plan.cost(model, list(ids.values()))
    free = shutil.disk_usage(bench.workspace if bench.workspace.exists() else bench.workspace.parent).free
    if cost.payload_bytes > 0.9 * free:
        raise InputError(
            f"this capture needs {cost.payload_bytes / 1e9:.2f} GB and {free / 1e9:.2f} GB are free: take fewer sites, "
            "--dtype bfloat16, or --tokens last"
        )
    described = {"sites": [s.name for s in plan.sites], "tokens": plan.tokens, "dtype": plan.dtype}
    with CaptureWriter(bench.store, name, model.identity.as_dict(), described) as writer:
        done = writer.done()
        for one in plan.run(model, {i: p for i, p in ids.items() if i not in done}, progress):
            activations = {(site.layer, site.name): value for site, value in one.activations.items()}
            kept = [one.token_ids[p] for p in one.positions]
            writer.add(one.index, prompts[one.index], kept, model.str_tokens(kept), activations)
    return Captured(name, len(prompts), len(done), cost)


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
