"""Page = script: what is on the page as a command line, a Python snippet and a batch file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from analyses._contract import Spec
from interp.script import batch_file, command_line, python_snippet


def script_panel(analysis: str, identity: Mapping[str, str], inputs: Mapping[str, Any], spec: Spec) -> None:
    """Three tabs, each with a copy button."""
    command, python, batch = st.tabs(["Command line", "Python", "Batch file"])
    command.code(command_line(analysis, identity, inputs, spec), language="bash", wrap_lines=True)
    python.code(python_snippet(analysis, identity, inputs, spec), language="python", wrap_lines=True)
    with batch:
        st.code(batch_file(analysis, identity, inputs, spec), language="yaml", wrap_lines=True)
        st.caption("Save it as `batch.yaml` and run it with `interp batch batch.yaml`; finished runs are not repeated.")
