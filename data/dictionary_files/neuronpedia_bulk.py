"""Neuronpedia's bulk form: folders `features`, `activations` and `explanations` of `batch-N.jsonl.gz`."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.dictionary_files._files import new_folder
from data.dictionary_files.features import Feature, Source
from data.dictionary_files.neuronpedia import (
    example_row,
    explanation_row,
    feature_of,
    feature_row,
)
from hooks.errors import InputError, reason

BATCH = 1024
"""Features a file."""
OWNER = ("modelId", "layer", "index")


def write_features(folder: Path, source: Source, features: Sequence[Feature]) -> None:
    """A new folder of all features of a dictionary; the same features give the same bytes.

    Raises InputError for NaN, a number given twice, or a folder that holds something.
    """
    numbers = [one.index for one in features]
    if twice := sorted({one for one in numbers if numbers.count(one) > 1} if len(set(numbers)) < len(numbers) else ()):
        raise InputError(f"feature {twice[0]} is there twice")
    with new_folder(folder) as making:
        for number, first in enumerate(range(0, max(len(features), 1), BATCH)):
            batch = features[first : first + BATCH]
            rows: dict[str, list[dict[str, Any]]] = {"features": [feature_row(source, one) for one in batch]}
            for name, making_row, parts in (
                ("activations", example_row, lambda one: one.examples),
                ("explanations", explanation_row, lambda one: one.explanations),
            ):
                rows[name] = [_owner(source, one) | making_row(part) for one in batch for part in parts(one)]
            for name, found in rows.items():
                (making / name).mkdir(exist_ok=True)
                _write(making / name / f"batch-{number}.jsonl.gz", found)


def read_features(folder: Path) -> tuple[Source, list[Feature]]:
    """All features of a folder, by number. Raises InputError naming the file and line that cannot be read."""
    found: dict[str, dict[str, Any]] = {}
    for where, row in _rows(folder, "features"):
        if str(row.get("index")) in found:
            raise InputError(f"{where}: feature {row.get('index')} is there twice")
        found[str(row.get("index"))] = row | {"activations": [], "explanations": []}
    if not found:
        raise InputError(f"{folder} has no features/batch-0.jsonl.gz with a feature in it")
    for name in ("activations", "explanations"):
        for where, row in _rows(folder, name):
            owner = found.get(str(row.get("index")))
            if owner is None:
                raise InputError(f"{where}: feature {row.get('index')} is not among the features")
            owner[name].append({key: value for key, value in row.items() if key not in OWNER})
    read = [feature_of(row, f"{folder}: feature {index}") for index, row in found.items()]
    if len({source for source, _ in read}) > 1:
        raise InputError(f"{folder} has features of several models or layers")
    return read[0][0], sorted((one for _, one in read), key=lambda one: one.index)


def _owner(source: Source, feature: Feature) -> dict[str, str]:
    return dict(zip(OWNER, (source.model, source.layer, str(feature.index)), strict=True))


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode("utf-8"), mtime=0))


def _rows(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of every line, file by file in the order of their numbers."""
    paths = sorted((folder / name).glob("*.jsonl.gz"), key=lambda one: (len(one.name), one.name))
    for path in paths:
        try:
            lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise InputError(f"{path} is damaged or half written: {reason(error)}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {reason(error)}") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number} is no object")
            yield f"{path}, line {number}", row
