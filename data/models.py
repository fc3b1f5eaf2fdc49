"""Model identities and the JSON columns of the catalogue."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import duckdb

from hooks.errors import InputError

_COLUMNS = ("name", "source", "revision", "quantisation", "dtype", "processing")


def to_json(what: str, value: Any, *, canonical: bool = False) -> str:
    """JSON of a plain value; floats survive exactly, tuples become lists. Raises InputError naming `what`."""
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=canonical)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be stored as JSON: {error}") from error
    return text


def save_model(connection: duckdb.DuckDBPyConnection, identity: dict[str, Any]) -> str:
    """Record an identity once; returns its key."""
    key = hashlib.sha256(to_json("the model identity", identity, canonical=True).encode()).hexdigest()[:16]
    columns = [None if identity.get(name) is None else str(identity[name]) for name in _COLUMNS]
    row = [key, *columns, to_json("the model identity", identity)]
    connection.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
    return key
