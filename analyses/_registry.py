"""Discovery: every public file in this folder that declares `ANALYSIS` is an analysis; nothing is listed by hand."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from analyses._contract import Analysis
from hooks.errors import InputError, unknown


@cache
def registry() -> dict[str, Analysis]:
    """All analyses by name, in alphabetical order."""
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])):
        if module.startswith("_"):
            continue
        analysis = getattr(importlib.import_module(f"analyses.{module}"), "ANALYSIS", None)
        if not isinstance(analysis, Analysis):
            raise InputError(f"analyses/{module}.py declares no ANALYSIS; see CONTRIBUTING.md for the shape of one")
        if analysis.name != module:
            raise InputError(f"analyses/{module}.py calls itself {analysis.name!r}; the two must agree")
        found[module] = analysis
    return found


def get(name: str) -> Analysis:
    """One analysis by name. Raises InputError offering the nearest."""
    if name not in registry():
        raise unknown("analysis", name, registry())
    return registry()[name]
