"""A workbench on a workspace of the test's own that borrows the session's toy models."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hooks.model import Model
from interp.workbench import Workbench


@pytest.fixture
def bench(tiny: Model, models_folder: Path, workspace: Path) -> Workbench:
    workspace.mkdir()
    (workspace / "models").symlink_to(models_folder / "models")
    return Workbench(workspace)


class Terminal:
    """Runs `interp …` in this process: exit code, stdout and stderr apart."""

    def __init__(self, workspace: Path) -> None:
        self._runner, self._workspace = CliRunner(env={"INTERP_WORKSPACE": str(workspace)}), workspace

    def __call__(self, *words: str) -> Result:
        import click

        from interp.cli import main

        @click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
        @click.argument("words", nargs=-1, type=click.UNPROCESSED)
        def program(words: tuple[str, ...]) -> None:
            main(list(words))

        return self._runner.invoke(program, ["--", *words])


@pytest.fixture
def interp(bench: Workbench) -> Terminal:
    return Terminal(bench.workspace)
