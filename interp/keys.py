"""Run keys: the same content gives the same key, any change another."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analyses._contract import Analysis, Inputs, Spec
from hooks.errors import InputError
from hooks.pairs import PromptPair
from hooks.tasks import TaskPrompt
from interp.input_kinds import SIDES
from interp.using import Used
from interp.using import content as content_of

if TYPE_CHECKING:
    from hooks.model import Model


def token_ids(model: Model, inputs: Inputs) -> dict[str, Any]:
    """The token ids that the model will see, by kind of input.

    Raises:
        InputError: an empty or too long text, naming the side of a pair, or the task or text by number.
    """
    if inputs.prompt is not None:
        return {"prompt": model.encode(inputs.prompt)}
    if inputs.tasks:
        return {"tasks": [_ids(model, f"task {i}", task.text) for i, task in enumerate(inputs.tasks)]}
    if inputs.texts:
        return {"texts": [_ids(model, f"text {i}", text) for i, text in enumerate(inputs.texts)]}
    return {"pairs": [{side: _ids(model, side, getattr(p, side)) for side in SIDES} for p in inputs.pairs]}


def beside_tokens(model: Model, inputs: Inputs) -> dict[str, Any]:
    """What an analysis can read of its inputs besides their tokens, as plain JSON; what is empty is left out.

    That is the set's name, labels and groups, answers, spans and related questions of tasks, and the texts that their
    own tokens do not spell.
    """
    found = {
        "set": inputs.set_name,
        "prompt": _unspelled(model, inputs.prompt),
        "pairs": _any([_beside_pair(model, pair) for pair in inputs.pairs]),
        "tasks": _any([_beside_task(model, task) for task in inputs.tasks]),
        "labels": list(inputs.labels),
        "groups": list(inputs.groups),
        "texts": _any([_unspelled(model, text) for text in inputs.texts]),
    }
    return {name: value for name, value in found.items() if value}


def run_key(analysis: Analysis, model: Model, inputs: Inputs, spec: Spec, used: Used = MappingProxyType({})) -> str:
    """24 hexadecimal digits of the SHA-256 of weights, inputs, analysis name and version, and computed spec.

    The weights are told by revision, quantisation, dtype and processing, not by the name they were asked for; the
    inputs by their token ids and everything else of them that `run` may read. `used`: what the options name.
    """
    content: dict[str, Any] = {
        "model": content_of(model),
        "tokens": {"read": list(inputs.read)} if analysis.by_text else token_ids(model, inputs),
        "analysis": [analysis.name, analysis.version],
        "spec": spec.computed(),
    }
    # Inputs that are their tokens alone keep the keys they had before there was anything else.
    told = {"labels": list(inputs.labels), "groups": list(inputs.groups)}
    beside = {k: v for k, v in told.items() if v} if analysis.by_text else beside_tokens(model, inputs)
    if beside:
        content["beside"] = beside
    if used:
        content["used"] = {name: content_of(other) for name, other in used.items()}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


def _ids(model: Model, what: str, text: str) -> list[int]:
    if not text:
        raise InputError(f"{what} is empty: give at least one token")
    try:
        return model.encode(text)
    except InputError as error:
        raise InputError(f"{what} {text[:40]!r}: {error}") from error


def _unspelled(model: Model, text: str | None) -> str | None:
    """A text that its tokens do not give back, as with a tokenizer that makes everything lower case."""
    if not text or model.tokenizer.decode(model.encode(text), clean_up_tokenization_spaces=False) == text:
        return None
    return text


def _beside_pair(model: Model, pair: PromptPair) -> dict[str, str]:
    texts = {side: _unspelled(model, getattr(pair, side)) for side in SIDES}
    return {name: value for name, value in (texts | {"label": pair.label}).items() if value}


def _beside_task(model: Model, task: TaskPrompt) -> dict[str, Any]:
    beside = task.as_dict() | {"text": _unspelled(model, task.text)}
    return {name: value for name, value in beside.items() if value}


def _any(found: list[Any]) -> list[Any]:
    """The list, or nothing when nothing is in it."""
    return found if any(found) else []
