"""`python -m benchmarks [NAME …]`: run the rows, print the table, write benchmarks/results/latest.json."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from benchmarks._harness import surroundings
from data.workspace import default_workspace

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> None:
    """Run the benchmark files named, or all; each file has `rows(workspace)`."""
    files = sorted(m.name for m in pkgutil.iter_modules([str(HERE)]) if not m.name.startswith("_"))
    if unknown := set(names) - set(files):
        sys.exit(f"error: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(files)}")
    # Once, at the start: this is the code that was measured, whatever is committed meanwhile.
    around, table = surroundings(), list[dict[str, Any]]()
    target = HERE / "results" / "latest.json"
    for name in names or files:
        for row in importlib.import_module(f"benchmarks.{name}").rows(default_workspace()):
            table.append(vars(row) | around)
            print(row.line(), flush=True)
            # After every row: a run that is stopped has not been for nothing.
            target.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {target.relative_to(HERE.parent)}")


main(sys.argv[1:])
