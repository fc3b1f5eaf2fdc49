"""A user's own pairs, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from data.aligned_pairs import PromptSet, attempt, not_empty
from data.sets._contract import Refusal
from hooks.errors import InputError, reason, unknown
from hooks.pairs import AlignedPair, PromptPair, Tokenises


def load_pairs_file(path: Path | str, model: Tokenises) -> PromptSet:
    """Read pairs from a JSONL file: every line has `clean`, `corrupted`, `answer`, `distractor`, and maybe `label`.

    Blank lines are passed over. A well-formed pair that does not align, or repeats an earlier one, is refused with
    its line number.

    Raises:
        InputError: a file that cannot be read as UTF-8 text, a line that is not such an object, or no pair that aligns.
    """
    file = Path(path)
    aligned: list[AlignedPair] = []
    refused: list[Refusal] = []
    first_at: dict[PromptPair, int] = {}
    for number, line in _lines(file):
        pair = _parse(f"{file} line {number}", line)
        if pair in first_at:
            outcome: AlignedPair | Refusal = Refusal(pair, f"the same pair as line {first_at[pair]}", "repeated pair")
        else:
            outcome = attempt(model, pair)
            first_at[pair] = number
        if isinstance(outcome, Refusal):
            refused.append(Refusal(pair, f"{file} line {number}: {outcome.reason}", outcome.kind))
        else:
            aligned.append(outcome)
    wanted = len(aligned) + len(refused)
    made = PromptSet(file.name, f"Pairs of {file.name}", "the user's own", tuple(aligned), tuple(refused), wanted)
    return not_empty(made)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, numbered from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as UTF-8 text: {reason(error)}") from error
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _parse(where: str, line: str) -> PromptPair:
    """One line as a pair, or an error that says where, and which field."""
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise InputError(f"{where}: not JSON of an object: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: {reason(error)}") from error
    allowed = [field.name for field in fields(PromptPair)]
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected an object with {', '.join(allowed)}, got {type(found).__name__}")
    for key, value in found.items():
        if key not in allowed:
            raise InputError(f"{where}: {unknown('field', key, allowed)}")
        if not isinstance(value, str):
            raise InputError(f"{where}: {key} must be text, got {type(value).__name__}")
    missing = [key for key in allowed if key != "label" and not found.get(key)]
    if missing:
        raise InputError(f"{where}: missing or empty: {', '.join(missing)}")
    return PromptPair(**found)
