"""A past run by its key, or by the beginning of one as a shell user types it."""

from __future__ import annotations

import difflib

from data.store import RunRecord, Store
from hooks.errors import InputError


def find(store: Store, key: str) -> RunRecord:
    """A run's record by key or by an unambiguous beginning of it."""
    if not key:
        raise InputError("the run key is empty; `interp runs` lists the runs there are")
    keys = [str(k) for k in store.list_runs()["key"]]
    matches = [k for k in keys if k.startswith(key)]
    if not matches:
        raise _no_such_run(key, keys)
    if len(matches) > 1:
        raise InputError(f"run {key!r} is ambiguous: {_few(matches)}; give more of its key")
    record = store.find_run(matches[0])
    assert record is not None
    return record


def _no_such_run(key: str, keys: list[str]) -> InputError:
    if not keys:
        return InputError(f"unknown run {key!r}: there are no runs in this workspace yet")
    beginnings = {k[: len(key)]: k for k in reversed(keys)}
    near = [beginnings[b] for b in difflib.get_close_matches(key, beginnings, n=1, cutoff=0.7)]
    offer = f"did you mean {near[0]!r}?" if near else f"the latest: {_few(keys)};"
    return InputError(f"unknown run {key!r}: {offer} `interp runs` lists them all")


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f", … ({len(keys)} in all)" if len(keys) > 3 else "")
