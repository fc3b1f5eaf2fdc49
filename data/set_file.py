"""A user's own pairs, tasks or texts: one JSON object a line, a row of a Parquet file, or for texts one text a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.aligned_pairs import PromptSet, Taken, attempt, not_empty, sorted_out
from data.sets._contract import Item, LabelledText, Refusal, SetKind
from hooks.errors import InputError, reason, unknown
from hooks.pairs import PromptPair, Tokenises
from hooks.tasks import TaskPrompt

_TELLING: dict[SetKind, frozenset[str]] = {
    "pairs": frozenset({"clean", "corrupted", "distractor"}),
    "tasks": frozenset({"answers", "spans", "related"}),
    "texts": frozenset({"text", "prompt"}),
}
"""Fields that tell what a file holds, in the order in which they are looked for."""


def kind_of(path: Path | str) -> SetKind:
    """What a file holds, told by its first line that is not blank; pairs where it does not tell.

    Raises:
        InputError: a file that cannot be read as UTF-8 text.
    """
    file = Path(path)
    first = next((line for _, line in _lines(file)), "{")
    if not _is_json(file) and not first.lstrip().startswith("{"):
        return "texts"
    try:
        found = json.loads(first)
    except (RecursionError, json.JSONDecodeError):
        return "pairs"
    names = set(found) if isinstance(found, dict) else set()
    return next((kind for kind, telling in _TELLING.items() if names & telling), "pairs")


def load_file(path: Path | str, model: Tokenises, kind: SetKind | None = None) -> PromptSet:
    """Read a file of pairs, tasks or texts; without a kind, `kind_of` says which.

    Pairs: every line has `clean`, `corrupted`, `answer`, `distractor`, and maybe `label`. Tasks: `text` and `answers`,
    and maybe `spans`, `related`, `label`, `group` (`TaskPrompt.as_dict`). Texts: an object with `text` and maybe
    `label` (its domain, say) and `group` (its document, say), other fields are passed over; in a file that is not JSON,
    a line is a text. Blank lines are passed over. A well-formed pair or task that the model cannot take, or that
    repeats an earlier one, is refused with its line number.

    Raises:
        InputError: a file that cannot be read as UTF-8 text, a line that is not such an object, or nothing that the
            model can take.
    """
    file = Path(path)
    kind = kind or kind_of(file)
    taken: list[Taken] = []
    refused: list[Refusal] = []
    first_at: dict[Hashable, int] = {}
    for number, line in _lines(file):
        item = _parse(f"{file} line {number}", line, kind, _is_json(file))
        if kind != "texts" and item in first_at:
            what = kind.removesuffix("s")
            outcome: Taken | Refusal = Refusal(item, f"the same {what} as line {first_at[item]}", f"repeated {what}")
        else:
            outcome = attempt(model, item)
            first_at[item] = number
        if isinstance(outcome, Refusal):
            refused.append(Refusal(item, f"{file} line {number}: {outcome.reason}", outcome.kind))
        else:
            taken.append(outcome)
    title, licence = f"{kind.capitalize()} of {file.name}", "the user's own"
    wanted = len(taken) + len(refused)
    made = PromptSet(file.name, title, licence, refused=tuple(refused), wanted=wanted, **vars(sorted_out(taken)))
    return not_empty(made, kind)


def load_pairs_file(path: Path | str, model: Tokenises) -> PromptSet:
    """`load_file` for pairs."""
    return load_file(path, model, "pairs")


def read_texts(path: Path | str) -> list[str]:
    """The texts of a file, whether or not a model can take them. Raises InputError as `load_file` does."""
    file = Path(path)
    texts = [_parse(f"{file} line {number}", line, "texts", _is_json(file)) for number, line in _lines(file)]
    if not texts:
        raise InputError(f"{file} holds no text: give one a line, or JSON objects with 'text'")
    return [text.text if isinstance(text, LabelledText) else str(text) for text in texts]


def _is_json(file: Path) -> bool:
    return file.suffix.lower() in (".jsonl", ".json", ".ndjson", ".parquet")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, or a Parquet file's rows as JSON, numbered from 1."""
    if file.suffix.lower() == ".parquet":
        return _rows(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as UTF-8 text: {reason(error)}") from error
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _rows(file: Path) -> Iterator[tuple[int, str]]:
    """A Parquet file's rows as JSON; empty cells are as if they were not there."""
    try:
        rows = pq.read_table(file).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read as Parquet: {reason(error)}") from error
    for number, row in enumerate(rows, start=1):
        try:
            yield number, json.dumps({name: value for name, value in row.items() if value is not None})
        except TypeError as error:
            raise InputError(f"{file} row {number} holds what JSON has no word for: {error}") from error


def _parse(where: str, line: str, kind: SetKind, as_json: bool) -> Item:
    """One line as an entry, or an error that says where, and which field."""
    if kind == "texts" and not as_json and not line.lstrip().startswith("{"):
        return line.removesuffix("\r")
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise InputError(f"{where}: not JSON of an object: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: {reason(error)}") from error
    if not isinstance(found, dict):
        allowed = ", ".join(_FIELDS[kind])
        raise InputError(f"{where}: expected an object with {allowed}, got {type(found).__name__}")
    try:
        return _READERS[kind](found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _pair(found: dict[str, Any]) -> PromptPair:
    for key, value in found.items():
        if key not in _FIELDS["pairs"]:
            raise unknown("field", key, _FIELDS["pairs"])
        if not isinstance(value, str):
            raise InputError(f"{key} must be text, got {type(value).__name__}")
    missing = [key for key in _FIELDS["pairs"] if key != "label" and not found.get(key)]
    if missing:
        raise InputError(f"missing or empty: {', '.join(missing)}")
    return PromptPair(**found)


def _text(found: dict[str, Any]) -> Item:
    text = found.get("text", found.get("prompt"))
    if not isinstance(text, str) or not text:
        raise InputError("needs a text that is not empty under 'text'")
    told = {name: found.get(name, "") for name in ("label", "group")}
    for name, value in told.items():
        if not isinstance(value, str):
            raise InputError(f"{name} must be text, got {type(value).__name__}")
    return LabelledText(text, **told) if any(told.values()) else text


_FIELDS: dict[SetKind, list[str]] = {
    "pairs": [field.name for field in fields(PromptPair)],
    "tasks": [field.name for field in fields(TaskPrompt)],
    "texts": ["text"],
}
_READERS: dict[SetKind, Callable[[dict[str, Any]], Item]] = {
    "pairs": _pair,
    "tasks": TaskPrompt.from_dict,
    "texts": _text,
}
