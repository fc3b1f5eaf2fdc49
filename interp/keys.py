"""Run keys: the same content gives the same key, any change another."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from analyses._contract import Analysis, Inputs, Spec
from hooks.errors import InputError
from hooks.pairs import PromptPair

if TYPE_CHECKING:
    from hooks.model import Model


def token_ids(model: Model, inputs: Inputs) -> dict[str, Any]:
    """The token ids that the model will see. Raises InputError for empty or too long prompts, naming the side."""
    if inputs.prompt is not None:
        return {"prompt": model.encode(inputs.prompt)}
    sides = ("clean", "corrupted", "answer", "distractor")
    return {"pairs": [{side: _side(model, pair, side) for side in sides} for pair in inputs.pairs]}


def _side(model: Model, pair: PromptPair, side: str) -> list[int]:
    text = getattr(pair, side)
    if not text:
        raise InputError(f"{side} is empty: give at least one token")
    try:
        return model.encode(text)
    except InputError as error:
        raise InputError(f"{side} {text[:40]!r}: {error}") from error


def run_key(analysis: Analysis, model: Model, inputs: Inputs, spec: Spec) -> str:
    """24 hexadecimal digits of the SHA-256 of weights, token ids, analysis name and version, and computed spec.

    The weights are told by revision, quantisation, dtype and processing, not by the name they were asked for.
    """
    content = {
        "model": {k: v for k, v in model.identity.as_dict().items() if k not in ("name", "spec", "source")},
        "tokens": token_ids(model, inputs),
        "analysis": [analysis.name, analysis.version],
        "spec": spec.computed(),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]
