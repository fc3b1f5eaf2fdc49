"""`python -m interp.setup_model`: fetch the default model once, with progress; answers at once when it is there."""

from __future__ import annotations

import sys

from data.workspace import default_workspace
from hooks.checkpoints import fetch
from hooks.errors import InputError
from interp.console import Reporter

if __name__ == "__main__":
    report = Reporter()
    try:
        fetch("smollm2-135m", default_workspace(), report)
    except InputError as error:
        sys.exit(f"error: {error}")
    report.close()
